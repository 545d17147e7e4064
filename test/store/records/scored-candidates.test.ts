import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  exportedLine,
  interactionLine,
  readInteraction,
  type StoredInteraction,
} from '../../../src/store/records/codec.ts'
import { importRecords } from '../../../src/store/records/import.ts'
import { eachCandidate, readCandidates, scoredCandidates } from '../../../src/store/records/scored-candidates.ts'
import { summaryOf } from '../../../src/store/records/summary.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'
import { expectClose } from '../../support/close.ts'
import { all, anInteraction } from '../records.ts'

const NAMES = ['gpt-5-mini', 'a "quoted" one', 'back\\slash', 'modèle', '模型', '🦙', 'line\nbreak', '\u2028', '', '}"']

/** Mulberry32: the same numbers in every run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

function someScores(random: () => number, m: number) {
  const scale = () => 10 ** (random() * 12 - 9)
  const scored = Array.from({ length: m }, (_, i) => ({
    candidate: { name: `${NAMES[Math.floor(random() * NAMES.length)]}${i}` },
    mean: (random() * 2 - 1) * scale(),
    std: random() * scale(),
    costUsd: random() < 0.2 ? 0 : random() * scale(),
  }))
  const weights = scored.map(() => (random() < 0.3 ? 0 : random() * scale()))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return { scored, propensities: weights.map((weight, i) => (total > 0 ? weight / total : i === 0 ? 1 : 0)) }
}

const parsed = (line: string): StoredInteraction => JSON.parse(line)

describe('candidates of a record', () => {
  test('come back from their text as they were, exported too, whatever they are called', () => {
    const random = seeded(1)
    for (let round = 0; round < 500; round++) {
      const m = Math.floor(random() ** 3 * 400)
      const { scored, propensities } = someScores(random, m)
      const byGraph = m === 0 || random() < 0.7
      const candidates = scoredCandidates(scored, propensities, byGraph)
      const shadow =
        random() < 0.3 ? { policy: 'a "next"', candidates: scoredCandidates(scored, propensities, true) } : null
      const record = anInteraction({ candidates, ...(shadow && { shadow }) })
      expect(readInteraction(parsed(interactionLine(record)))).toEqual(record)
      expect(readInteraction(parsed(exportedLine(record)))).toEqual(record)
      const float32 = (value: number | null) => value && Math.fround(value)
      const found = eachCandidate(candidates).map(({ name, ...numbers }) => [
        name,
        ...Object.values(numbers).map(float32),
      ])
      const given = scored.map(({ candidate, mean, std, costUsd }, i) => [
        candidate.name,
        ...(byGraph ? [mean, std] : [null, null]).map(float32),
        ...[costUsd, propensities[i] as number].map(float32),
      ])
      expect(found).toEqual(given)
      const sum = eachCandidate(candidates).reduce((total, { propensity }) => total + propensity, 0)
      if (m > 0) expectClose(sum, 1)
    }
  })

  test('nothing and everything stay exact, and decimals are as short as they came', () => {
    const scored = [0, 1].map((i) => ({ candidate: { name: `c${i}` }, mean: 0.31, std: 0.1, costUsd: 0.0004 }))
    expect(eachCandidate(scoredCandidates(scored, [0, 1], true))).toEqual([
      { name: 'c0', mean: 0.31, std: 0.1, predictedCostUsd: 0.0004, propensity: 0 },
      { name: 'c1', mean: 0.31, std: 0.1, predictedCostUsd: 0.0004, propensity: 1 },
    ])
  })

  test('each request has its own names, however often lists change', () => {
    const records = Array.from({ length: 20 }, (_, i) => {
      const scored = Array.from({ length: 1 + (i % 3) }, (_, j) => ({
        candidate: { name: `list ${i % 5}, ${j}` },
        ...{ mean: i, std: 1, costUsd: j },
      }))
      return anInteraction({ candidates: scoredCandidates(scored, [1, 0, 0], i % 2 === 0) })
    })
    const lines = records.map(interactionLine)
    expect(lines.map((line) => readInteraction(parsed(line)))).toEqual(records)
    for (const [i, { candidates }] of records.entries()) {
      expect(candidates.names[0]).toBe(`list ${i % 5}, 0`)
      expect(candidates.columns.includes('mean')).toBe(i % 2 === 0)
    }
  })

  test('a text that is not one number a column and name is refused', () => {
    const { candidates } = anInteraction()
    for (const wrong of [
      { ...candidates, names: candidates.names.slice(1) },
      { ...candidates, columns: candidates.columns.slice(1) },
      { ...candidates, float32: candidates.float32.slice(4) },
      { ...candidates, float32: `"${candidates.float32.slice(1)}` },
      // As long in text, and two bytes longer.
      { names: ['one'], columns: ['mean'], float32: 'AAAAAAAA' },
      { names: ['one'], columns: ['mean'], float32: 'AAAA====' },
      { names: ['one'], columns: ['mean'], float32: 'AAAAAA' },
    ]) {
      expect(() => readCandidates(wrong)).toThrow(/^float32: /)
    }
  })
})

describe('a store', () => {
  let dir: string
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'persona-router-candidates-'))
  })
  afterAll(() => rmSync(dir, { recursive: true }))
  const openStore = (name: string) => new SqliteStore({ kind: 'sqlite', path: join(dir, name), retention_days: 36_500 })

  test('reads rows of an earlier version beside its own', async () => {
    const [before, now] = [anInteraction({ ts: 1e12 }), anInteraction({ ts: 2e12 })]
    const store = openStore('upgraded.db')
    await store.appendInteractions([before, now])
    const db = new DatabaseSync(join(dir, 'upgraded.db'))
    // An export is what earlier versions stored.
    const { type: _, ...old } = JSON.parse(exportedLine(before))
    db.prepare('UPDATE interactions SET json = ? WHERE id = ?').run(JSON.stringify(old), before.id)
    const forms = db.prepare(`SELECT json_type(json, '$.candidates') AS form FROM interactions ORDER BY ts`).all()
    db.close()
    expect(forms.map(({ form }) => form)).toEqual(['array', 'object'])
    expect(await all(store.readInteractions({}))).toEqual([before, now])
    expect(await store.findInteraction(before.tenant, before.id)).toEqual(summaryOf(before))
    await store.close()
  })

  test('imports exports and spools', async () => {
    const rows = [anInteraction({ ts: 1e12 }), anInteraction({ ts: 2e12, text: 'a prompt' })]
    const file = join(dir, 'both.ndjson')
    writeFileSync(file, `${exportedLine(rows[0]!)}\n${interactionLine(rows[1]!)}\n`)
    const store = openStore('imported.db')
    expect(await importRecords(store, file)).toEqual({ interactions: 2, rewards: 0 })
    expect(await all(store.readInteractions({}))).toEqual(rows)
    await store.close()
  })

  const { candidates } = anInteraction()
  const withNumber = (value: number) => {
    const bytes = Buffer.from(candidates.float32, 'base64')
    bytes.writeFloatLE(value, bytes.length - 4)
    return { ...candidates, float32: bytes.toString('base64') }
  }
  test.each([
    ['a propensity that is no number', withNumber(Number.NaN), /candidates\.11\.propensity: /],
    ['an infinite one', withNumber(Number.POSITIVE_INFINITY), /candidates\.11\.propensity: /],
    ['more than one', withNumber(1.5), /candidates\.11\.propensity: /],
    ['no propensities', { ...candidates, columns: ['mean', 'std'] }, /candidates: float32: /],
    ['too few names', { ...candidates, names: ['one'] }, /candidates: float32: /],
    [
      'columns of its own',
      { ...candidates, columns: ['mean', 'std', 'predicted_cost_usd', 'x'] },
      /candidates\.columns\.3: /,
    ],
    ['not base64', { ...candidates, float32: '%'.repeat(candidates.float32.length) }, /candidates\.float32: /],
    [
      'a number that is a text',
      [{ name: 'a', mean: '1', std: 0, predicted_cost_usd: 0, propensity: 1 }],
      /candidates\.0\.mean: /,
    ],
    ['a word', 'candidates', /candidates: /],
  ])('takes no import with %s', async (_, wrong, message) => {
    const file = join(dir, 'wrong.ndjson')
    writeFileSync(file, JSON.stringify({ ...JSON.parse(interactionLine(anInteraction())), candidates: wrong }))
    const store = openStore('wrong.db')
    const error = await importRecords(store, file).catch((thrown: Error) => thrown)
    expect(String(error)).toMatch(/line 1 is not a record: /)
    expect(String(error)).toMatch(message)
    expect(await all(store.readInteractions({}))).toEqual([])
    await store.close()
  })
})
