import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { KeepOptions, Responses, StoredResponse } from '../../src/store/responses.ts'
import type { Store } from '../../src/store/store.ts'

const OPTIONS: KeepOptions = { ttlMs: 60_000, maxBytes: 1024 * 1024 }

const aResponse = (overrides: Partial<StoredResponse> = {}): StoredResponse => ({
  id: `resp_${randomUUID()}`,
  ts: Date.now(),
  chain: [],
  items: [],
  body: Buffer.from([0, 1, 2, 0xff, 0x0a, 0x0d]),
  ...overrides,
})

async function listed(responses: Responses, tenant: string, user: string): Promise<string[]> {
  const ids: string[] = []
  for await (const page of responses.list(tenant, user)) ids.push(...page)
  return ids
}

/** What every store must do with responses that are kept. */
export function responsesContract(store: () => Store, open: () => Promise<Store>): void {
  const tenant = () => `r-${randomUUID().slice(0, 8)}`

  test('is found again as it was kept, by its own user alone, also by another replica', async () => {
    const t = tenant()
    const { responses } = store()
    const [one, two] = [aResponse({ items: ['msg_a', 'rs_b'], chain: ['resp_x'] }), aResponse({ items: ['msg_c'] })]
    expect(await responses.save(t, 'ann', one, OPTIONS)).toBe(true)
    expect(await responses.save(t, 'ann', two, OPTIONS)).toBe(true)
    const other = await open()
    expect(await other.responses.load(t, 'ann', [two.id, 'resp_none', one.id])).toEqual([two, null, one])
    expect(await other.responses.findItems(t, 'ann', ['rs_b', 'none', 'msg_c'])).toEqual([one.id, null, two.id])
    expect(await listed(other.responses, t, 'ann')).toEqual([one.id, two.id].sort(byTime(one, two)))
    for (const [where, whose] of [
      [t, 'bob'],
      [tenant(), 'ann'],
    ] as const) {
      expect(await other.responses.load(where, whose, [one.id])).toEqual([null])
      expect(await other.responses.findItems(where, whose, ['msg_a'])).toEqual([null])
      expect(await other.responses.delete(where, whose, one.id)).toBe(false)
      expect(await listed(other.responses, where, whose)).toEqual([])
    }
    await other.close()
  })

  test('many are listed, loaded, gone on from and erased in slices', async () => {
    const t = tenant()
    const { responses } = store()
    const many = Array.from({ length: 150 }, (_, i) => aResponse({ ts: Date.now() - 1_000 + i, items: [`msg_${i}`] }))
    const soon = { ...OPTIONS, ttlMs: 2_000 }
    // Together: one after the other, the first would have gone before the last came on a slow machine.
    await Promise.all(many.map((each) => responses.save(t, 'ann', each, soon)))
    const ids = many.map(({ id }) => id)
    expect(await listed(responses, t, 'ann')).toEqual(ids)
    expect(await responses.load(t, 'ann', ids)).toEqual(many)
    expect(
      await responses.findItems(
        t,
        'ann',
        many.flatMap(({ items }) => items),
      ),
    ).toEqual(ids)
    await responses.save(t, 'ann', aResponse({ chain: ids }), OPTIONS)
    await sleep(2_100)
    expect((await responses.load(t, 'ann', ids)).filter((found) => found === null)).toEqual([])
    expect(await store().eraseUser(t, 'ann')).toBe(151)
    expect(await listed(responses, t, 'ann')).toEqual([])
  })

  test('may have the id that another user’s has', async () => {
    const t = tenant()
    const { responses } = store()
    const [mine, theirs] = [aResponse({ id: 'resp_same' }), aResponse({ id: 'resp_same', body: Buffer.from('other') })]
    await responses.save(t, 'ann', mine, OPTIONS)
    await responses.save(t, 'bob\nann', theirs, OPTIONS)
    expect(await responses.load(t, 'ann', ['resp_same'])).toEqual([mine])
    expect(await responses.load(t, 'bob\nann', ['resp_same'])).toEqual([theirs])
  })

  test('kept again it replaces what was there, and is counted once', async () => {
    const t = tenant()
    const { responses } = store()
    const big = () => aResponse({ id: 'resp_again', body: Buffer.alloc(500) })
    for (let i = 0; i < 5; i++) await responses.save(t, 'ann', big(), { ...OPTIONS, maxBytes: 2_000 })
    const next = aResponse({ body: Buffer.alloc(900) })
    expect(await responses.save(t, 'ann', next, { ...OPTIONS, maxBytes: 2_000 })).toBe(true)
    expect((await responses.load(t, 'ann', ['resp_again', next.id])).map((found) => found !== null)).toEqual([
      true,
      true,
    ])
  })

  test('is gone when it is deleted, with what it was found by, and its bytes count no more', async () => {
    const t = tenant()
    const { responses } = store()
    const one = aResponse({ items: ['msg_a'], body: Buffer.alloc(900) })
    await responses.save(t, 'ann', one, { ...OPTIONS, maxBytes: 1_200 })
    expect(await responses.delete(t, 'ann', one.id)).toBe(true)
    expect(await responses.delete(t, 'ann', one.id)).toBe(false)
    expect(await responses.load(t, 'ann', [one.id])).toEqual([null])
    expect(await responses.findItems(t, 'ann', ['msg_a'])).toEqual([null])
    expect(await listed(responses, t, 'ann')).toEqual([])
    const next = [aResponse({ body: Buffer.alloc(400) }), aResponse({ body: Buffer.alloc(400) })]
    for (const each of next) await responses.save(t, 'ann', each, { ...OPTIONS, maxBytes: 1_200 })
    expect(await listed(responses, t, 'ann')).toHaveLength(2)
  })

  test('is gone after its time, unless one that goes on from it is kept', async () => {
    const t = tenant()
    const { responses } = store()
    const [first, second, alone] = [aResponse(), aResponse(), aResponse()]
    const soon = { ...OPTIONS, ttlMs: 150 }
    for (const each of [first, second, alone]) await responses.save(t, 'ann', each, soon)
    const third = aResponse({ chain: [second.id, first.id] })
    await responses.save(t, 'ann', third, OPTIONS)
    await sleep(200)
    expect(await responses.load(t, 'ann', [first.id, second.id, third.id, alone.id])).toEqual([
      first,
      second,
      third,
      null,
    ])
    expect(await listed(responses, t, 'ann')).not.toContain(alone.id)
  })

  test('makes room by dropping what was longest not referred to, of its tenant alone', async () => {
    const [t, elsewhere] = [tenant(), tenant()]
    const { responses } = store()
    const options = { ...OPTIONS, maxBytes: 1_500 }
    const other = aResponse({ body: Buffer.alloc(400) })
    await responses.save(elsewhere, 'ann', other, options)
    const [old, used] = [aResponse({ items: ['msg_old'] }), aResponse()].map((each) => ({
      ...each,
      body: Buffer.alloc(400),
    })) as [StoredResponse, StoredResponse]
    for (const [user, each] of [
      ['bob', old],
      ['ann', used],
    ] as const) {
      await responses.save(t, user, each, options)
      await sleep(5)
    }
    const next = aResponse({ body: Buffer.alloc(600), chain: [used.id] })
    expect(await responses.save(t, 'ann', next, options)).toBe(true)
    expect(await responses.load(t, 'bob', [old.id])).toEqual([null])
    expect(await responses.findItems(t, 'bob', ['msg_old'])).toEqual([null])
    expect((await responses.load(t, 'ann', [used.id, next.id])).every((found) => found !== null)).toBe(true)
    expect(await responses.load(elsewhere, 'ann', [other.id])).toEqual([other])
    const large = aResponse({ body: Buffer.alloc(2_000) })
    expect(await responses.save(t, 'ann', large, options)).toBe(false)
    expect(await responses.load(t, 'ann', [large.id])).toEqual([null])
  })

  test('goes with its user, and one that was made before comes no more', async () => {
    const t = tenant()
    const { responses } = store()
    const [gone, stays] = [aResponse({ items: ['msg_gone'] }), aResponse()]
    await responses.save(t, 'gone', gone, OPTIONS)
    await responses.save(t, 'stays', stays, OPTIONS)
    expect(await store().eraseUser(t, 'gone')).toBe(1)
    expect(await responses.load(t, 'gone', [gone.id])).toEqual([null])
    expect(await responses.findItems(t, 'gone', ['msg_gone'])).toEqual([null])
    expect(await listed(responses, t, 'gone')).toEqual([])
    expect(await responses.load(t, 'stays', [stays.id])).toEqual([stays])
    expect(await responses.save(t, 'gone', gone, OPTIONS)).toBe(false)
    const later = aResponse({ ts: Date.now() + 1_000 })
    expect(await responses.save(t, 'gone', later, OPTIONS)).toBe(true)
  })
}

const byTime = (one: StoredResponse, two: StoredResponse) => (a: string, b: string) => {
  const ts = (id: string) => (id === one.id ? one.ts : two.ts)
  return ts(a) - ts(b) || (a < b ? -1 : 1)
}
