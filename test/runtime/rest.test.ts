import { expect, test, vi } from 'vitest'
import { eachWithRests, restAfter, STEP_MS, StepSize, withRests } from '../../src/runtime/rest.ts'

test('a step takes as many rows as fit into its time, at most twice as many as before', () => {
  const size = new StepSize(100, 1)
  const sizes = [STEP_MS / 8, STEP_MS / 2, STEP_MS, 4 * STEP_MS, 1e6, 0, 0, 0, 0, 0, 0, 0, 0].map((ms) => {
    size.took(ms)
    return size.rows
  })
  expect(sizes).toEqual([2, 4, 4, 1, 1, 2, 4, 8, 16, 32, 64, 100, 100])
  expect(new StepSize(5).rows).toBe(5)
})

test('a step that takes its time whatever its rows takes no fewer than the least, so that the work ends', () => {
  const most = [500, 5].map((rows) => new StepSize(rows))
  for (const size of most) for (let i = 0; i < 20; i++) size.took(STEP_MS * (1.5 + size.rows / 100))
  expect(most.map(({ rows }) => rows)).toEqual([8, 5])
  // So much time in the step before was another's.
  const size = new StepSize(200, 16)
  for (const ms of [STEP_MS / 4, STEP_MS / 4, 1e6]) size.took(ms)
  expect(size.rows).toBe(16)
})

test('whatever works beside something long rests in turn, three times as long as all of it worked', async () => {
  const order: string[] = []
  const from = performance.now()
  const work = async (name: string, ms: number) => {
    await restAfter(ms)
    order.push(name)
  }
  await Promise.all([work('a', 5), work('b', 10), work('c', 1), work('held up', 1e6)])
  expect(order).toEqual(['a', 'b', 'c', 'held up'])
  // Timers fire late, never early; what was held up counts as 20 ms.
  expect(performance.now() - from).toBeGreaterThanOrEqual(3 * (5 + 10 + 1 + 20) - 5)
})

test('long work in memory, and on pages, leaves a turn to others after each step', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  try {
    let turns = 0
    let timer = setImmediate(function tick() {
      turns++
      timer = setImmediate(tick)
    })
    const seen: [number, number][] = []
    const work = (one: number) => {
      seen.push([one, turns])
      vi.advanceTimersByTime(STEP_MS / 64)
    }
    await eachWithRests(
      Array.from({ length: 256 }, (_, i) => i),
      work,
      0.1,
    )
    async function* pages() {
      for (let i = 0; i < 4; i++) yield 256 + i
    }
    for await (const page of withRests(pages(), 0.1)) {
      work(page)
      vi.advanceTimersByTime(STEP_MS)
    }
    clearImmediate(timer)
    expect(seen.map(([one]) => one)).toEqual(Array.from({ length: 260 }, (_, i) => i))
    const steps = [...Map.groupBy(seen, ([, turn]) => turn).values()].map(({ length }) => length)
    expect(steps).toEqual([64, 64, 64, 64, 1, 1, 1, 1])
  } finally {
    vi.useRealTimers()
  }
})
