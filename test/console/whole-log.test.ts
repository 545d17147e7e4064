import { afterEach, expect, test } from 'vitest'
import { reportModels } from '../../src/console/model-report.ts'
import { makeReport } from '../../src/learning/report.ts'
import { STEP_MS, withRests } from '../../src/runtime/rest.ts'
import type { InteractionRecord, RewardRecord } from '../../src/store/records/codec.ts'
import { scoredCandidates } from '../../src/store/records/scored-candidates.ts'

const ROWS = 30_000
const PAGE = 64
const PAGES_A_STEP = 16
const MODELS = ['cheap', 'middle', 'dear']

const scored = scoredCandidates(
  MODELS.map((name, i) => ({ candidate: { name }, mean: 0.3 + i / 10, std: 0.1, costUsd: 0.001 * (i + 1) })) as never,
  MODELS.map(() => 1 / 3),
  true,
)
const row = (i: number) =>
  ({
    ...{ id: `r-${i}`, user: `u-${i % 100}`, ts: i, chosen: MODELS[i % 3], reason: 'explore', arm: 'route' },
    ...{ status: 200, costUsd: 0.001, candidates: scored, policy: 'p', ttftMs: 1, totalMs: 2 },
    ...{ usage: { completionTokens: i % 500 }, predicted: { quality: 0.5, completion_tokens: 100 } },
  }) as unknown as InteractionRecord
const rating = (i: number) => ({ interaction: `r-${i}`, user: `u-${i % 100}`, kind: 'rating', ts: i, value: 1 })

/** Turns of the event loop, and rows that were read within one. */
let turns = 0
let mostRows = 0
let rows = 0
let timer: NodeJS.Immediate
afterEach(() => {
  clearImmediate(timer)
})

/** Each page takes so long at least, however fast this machine is; the store leaves no turn to others by itself. */
async function* pages<T>(make: (i: number) => T): AsyncGenerator<T[]> {
  for (let from = 0; from < ROWS; from += PAGE) {
    const page = Array.from({ length: Math.min(PAGE, ROWS - from) }, (_, i) => make(from + i))
    rows += page.length
    mostRows = Math.max(mostRows, rows)
    yield page
    for (const end = performance.now() + STEP_MS / PAGES_A_STEP; performance.now() < end; );
  }
}

test.each([
  [
    'the overview',
    (store: Parameters<typeof makeReport>[0]) => makeReport(store, { tenant: 't', since: 0, until: ROWS }),
  ],
  ['models', (store: Parameters<typeof reportModels>[0]) => reportModels(store, { tenant: 't', since: 0 })],
])(
  '%s of thirty thousand rows: others get their turn every few pages, and while it is summed up',
  async (_, report) => {
    ;[turns, mostRows, rows] = [0, 0, 0]
    let turnsAtEnd = 0
    const tick = () => {
      turns++
      rows = 0
      timer = setImmediate(tick)
    }
    tick()
    const told = await report({
      readRewards: () =>
        withRests(
          pages((i) => rating(i) as RewardRecord),
          1,
        ),
      async *readInteractions() {
        yield* withRests(pages(row), 1)
        turnsAtEnd = turns
      },
    })
    expect(JSON.stringify(told)).toMatch(/"requests":(30000|10000)/)
    // What is left of the one is read with the first of the other.
    expect(mostRows).toBeLessThanOrEqual(2 * PAGES_A_STEP * PAGE)
    expect(turns - turnsAtEnd).toBeGreaterThan(3)
  },
  20_000,
)
