import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { withFormerIds } from '../../src/candidates/former-ids.ts'
import { overridden } from '../../src/candidates/overridden-store.ts'
import { SqliteStore } from '../../src/store/sqlite/store.ts'
import { all, anEdge, anInteraction, aUser } from '../store/records.ts'

test('who is erased while another replica looks for them is not there afterwards, under no id', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-former-'))
  const store = new SqliteStore({ kind: 'sqlite', path: join(dir, 'store.db'), retention_days: 90 })
  const userIds = { former: () => ['former', 'older'] }
  const otherReplica = withFormerIds(store, userIds)
  const erased: string[] = []
  const raced = overridden(store, {
    async eraseUser(tenant, user) {
      const rows = await store.eraseUser(tenant, user)
      erased.push(user)
      await otherReplica.loadUser(tenant, 'present')
      return rows
    },
  })
  for (const user of ['former', 'older']) {
    await store.commitUser('acme', user, aUser(), [anEdge()])
    await store.appendInteractions([anInteraction({ tenant: 'acme', user })])
  }
  expect(await withFormerIds(raced, userIds).eraseUser('acme', 'present')).toBeGreaterThan(3)
  expect(erased).toEqual(['former', 'older', 'present'])
  for (const user of ['present', 'former', 'older']) {
    expect(await store.loadUser('acme', user)).toBeNull()
    expect(await all(store.readInteractions({ tenant: 'acme', user }))).toEqual([])
  }
  // Under whichever id it was.
  await store.eraseUser('acme', 'long-ago')
  const asNamed = { former: (_: string, user: string) => (user === 'ann' ? ['long-ago'] : []) }
  const was = (user: string) => withFormerIds(store, asNamed).wasErased('acme', user)
  expect([await was('ann'), await was('bob'), await was('older')]).toEqual([true, false, true])
  await store.close()
  rmSync(dir, { recursive: true, force: true })
})
