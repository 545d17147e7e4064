import { expect, test } from 'vitest'
import { PerMinute } from '../../src/runtime/per-minute.ts'

test('so many of each key, in each minute', () => {
  const traces = new PerMinute(2)
  const keeps = (tenant: string, now: number) => [1, 2, 3].map(() => traces.allows(tenant, now))
  expect(keeps('a', 59_999)).toEqual([true, true, false])
  expect(keeps('b', 59_999)).toEqual([true, true, false])
  expect(keeps('a', 60_000)).toEqual([true, true, false])
  expect(new PerMinute(0).allows('a', 0)).toBe(false)
})
