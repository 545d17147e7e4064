import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { documentOf, rowOf } from '../../../src/store/archive/columns.ts'
import { decodeRow, encodeRow } from '../../../src/store/backup/rows.ts'
import type { InteractionRecord } from '../../../src/store/records/codec.ts'
import { exportRecords } from '../../../src/store/records/export.ts'
import { importRecords } from '../../../src/store/records/import.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'
import { all, anInteraction, aReward, NO_CANDIDATES } from '../records.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'persona-router-export-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

const openStore = (name: string) => new SqliteStore({ kind: 'sqlite', path: join(dir, name), retention_days: 36_500 })

async function exported(store: SqliteStore, filter = {}): Promise<string> {
  let text = ''
  await exportRecords(store, filter, (chunk) => {
    text += chunk
  })
  return text
}

test('an export names every field as the record contract does', async () => {
  const store = openStore('fields.db')
  const row = anInteraction({
    text: 'hello',
    textExpiresAt: Date.now() + 1e6,
    shadow: { policy: 'next', candidates: NO_CANDIDATES },
  })
  const reward = aReward({ interaction: row.id })
  await store.appendInteractions([row])
  await store.appendRewards([reward])
  const [interactionText, rewardText] = (await exported(store)).trim().split('\n')
  await store.close()
  const interaction = JSON.parse(interactionText!)
  expect(Object.keys(interaction)).toEqual(
    'type id ts tenant user conversation embedding embedder reading reader text text_expires_at candidates policy chosen reason attempts usage usage_estimated cost_usd ttft_ms total_ms overhead_us finish_reason status stream tools modalities completion_id shadow'.split(
      ' ',
    ),
  )
  expect(interaction).toMatchObject({
    type: 'interaction',
    embedding: null,
    reading: { int8: expect.any(String), scale: 0.01 },
    usage: {
      prompt_tokens: 120,
      completion_tokens: 340,
      cached_tokens: 64,
      cache_write_tokens: 0,
      reasoning_tokens: 12,
    },
    text: 'hello',
    cost_usd: row.costUsd,
  })
  expect(Object.keys(interaction.candidates[0])).toEqual(['name', 'mean', 'std', 'predicted_cost_usd', 'propensity'])
  expect(JSON.parse(rewardText!)).toEqual({
    type: 'reward',
    interaction: row.id,
    tenant: 'acme',
    user: 'u-1',
    kind: 'rating',
    value: 1,
    weight: 1,
    binary: true,
    ts: reward.ts,
    preferred_model: null,
    comment: null,
  })
})

test('an import gives back what was exported, twice as well as once', async () => {
  const [from, to] = [openStore('from.db'), openStore('to.db')]
  const rows = Array.from({ length: 1_300 }, (_, i) =>
    anInteraction({ ts: 1e12 + i, tenant: i % 2 ? 'acme' : 'other', text: i % 3 ? null : `line one\nline ${i} é` }),
  )
  const rewards = rows.slice(0, 40).map(({ id, tenant }) => aReward({ interaction: id, tenant }))
  await from.appendInteractions(rows)
  await from.appendRewards(rewards)
  const file = join(dir, 'all.jsonl')
  writeFileSync(file, await exported(from))
  for (let i = 0; i < 2; i++) expect(await importRecords(to, file)).toEqual({ interactions: 1_300, rewards: 40 })
  expect(await all(to.readInteractions({}))).toEqual(rows)
  expect(await all(to.readRewards({}))).toEqual(await all(from.readRewards({})))
  expect((await exported(from, { tenant: 'acme', since: 1e12, until: 1e12 + 9 })).trim().split('\n')).toHaveLength(5)
  await Promise.all([from.close(), to.close()])
})

test('a reason and an arm of tomorrow are taken in, kept and written again: import, backup, archive', async () => {
  const store = openStore('tomorrow.db')
  const row = anInteraction()
  await store.appendInteractions([row])
  const line = { ...JSON.parse(await exported(store)), id: 'of-tomorrow', reason: 'of_tomorrow', arm: 'another' }
  const file = join(dir, 'tomorrow.jsonl')
  writeFileSync(file, JSON.stringify(line))
  expect(await importRecords(store, file)).toEqual({ interactions: 1, rewards: 0 })
  const [kept] = (await all(store.readInteractions({}))).filter(({ id }) => id === 'of-tomorrow')
  expect(kept).toMatchObject({ reason: 'of_tomorrow', arm: 'another' })
  const backedUp = encodeRow({ type: 'interaction', record: kept as InteractionRecord })
  expect(decodeRow(backedUp)).toEqual({ type: 'interaction', record: kept })
  expect(rowOf('interaction', documentOf('interaction', kept as InteractionRecord))).toMatchObject({
    reason: 'of_tomorrow',
    arm: 'another',
  })
  for (const odd of ['', 7, null, 'x'.repeat(65)]) {
    writeFileSync(file, JSON.stringify({ ...line, reason: odd }))
    await expect(importRecords(store, file)).rejects.toThrow('reason')
  }
  await store.close()
})

test.each([
  ['{"type":"interaction","id":"secret prompt"}', /line 2 is not a record: ts: /],
  ['{"type":"other"}', /line 2 is not a record: type: /],
  ['secret prompt', /line 2 is not a record: it is not JSON/],
])('an import says which line is wrong, without its contents: %s', async (line, message) => {
  const store = openStore('wrong.db')
  const file = join(dir, 'wrong.jsonl')
  writeFileSync(file, `\n${line}\n`)
  const error = await importRecords(store, file).catch((thrown: Error) => thrown)
  expect(String(error)).toMatch(message)
  expect(String(error)).not.toContain('secret prompt')
  await store.close()
})
