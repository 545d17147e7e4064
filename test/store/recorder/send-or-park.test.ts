import { expect, test } from 'vitest'
import type { Parked } from '../../../src/store/recorder/parked.ts'
import type { Row } from '../../../src/store/recorder/row.ts'
import { sendOrPark } from '../../../src/store/recorder/send-or-park.ts'
import { Sender } from '../../../src/store/recorder/sender.ts'
import type { Spool, SpoolPlace } from '../../../src/store/recorder/spool.ts'
import { type Store, StoreError } from '../../../src/store/store.ts'
import { anInteraction } from '../records.ts'

test('who waits no more by the time that the others are sent loses nothing', async () => {
  const waiting = new Set(['acme'])
  const has: string[] = []
  let isBellAway = true
  const store = {
    appendInteractions: async (some: { tenant: string }[]) => {
      const tenant = some[0]?.tenant
      if (tenant === 'bell' && isBellAway) {
        // Meanwhile the first one's part is back, and the next time the other's is.
        waiting.delete('acme')
        isBellAway = false
        throw new StoreError('away')
      }
      if (tenant === 'acme') waiting.delete('bell')
      has.push(tenant as string)
    },
  } as unknown as Store
  const parked = {
    has: (tenant: string) => waiting.has(tenant),
    since: () => null,
    begin: (tenant: string) => waiting.add(tenant),
    add: (lines: Iterable<readonly [string, readonly string[]]>) =>
      [...lines].reduce((sum, [tenant, some]) => sum + (waiting.has(tenant) ? some.length : 0), 0),
  } as unknown as Parked<SpoolPlace>
  const sender = new Sender(store, () => undefined)
  const spool = { delivered: () => [] } as unknown as Spool
  const rows: Row[] = ['acme', 'bell'].map((tenant) => ({ type: 'interaction', record: anInteraction({ tenant }) }))
  const sent = await sendOrPark({ sender, spool, parked }, rows)
  expect(has).toEqual(['acme', 'bell'])
  expect([sent.taken.length, sent.waiting, sent.lost]).toEqual([2, 0, 0])
})
