import { expect, test } from 'vitest'
import { type Surge, Surges } from '../../src/learning/surges.ts'

function watched() {
  const seen: Surge[] = []
  const clock = { now: 0 }
  const surges = new Surges(
    (surge) => seen.push(surge),
    () => clock.now,
  )
  const say = (n: number, reward: (i: number) => number, candidate = 'dear') => {
    for (let i = 0; i < n; i++) surges.note('acme', candidate, reward(i))
  }
  return { seen, clock, say }
}

test('a crowd that says the same is told once an hour, by tenant and candidate', () => {
  const { seen, clock, say } = watched()
  say(19, () => 1)
  say(19, () => -1, 'cheap')
  expect(seen).toEqual([])
  say(5, () => 1)
  expect(seen).toEqual([{ tenant: 'acme', candidate: 'dear', users: 20, mean: 1 }])
  say(100, () => 1)
  expect(seen).toHaveLength(1)
  clock.now = 3_600_001
  say(20, () => -1)
  expect(seen[1]).toEqual({ tenant: 'acme', candidate: 'dear', users: 20, mean: -1 })
})

test('one that is of two minds, or that comes over days, is none', () => {
  const { seen, clock, say } = watched()
  say(500, (i) => (i % 2 ? 1 : -1))
  for (let day = 0; day < 10; day++) {
    clock.now += 86_400_000
    say(15, () => 1, 'cheap')
  }
  expect(seen).toEqual([])
})
