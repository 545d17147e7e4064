import { expect, test } from 'vitest'
import { CallerTraces } from '../../../src/observability/telemetry/caller-traces.ts'

test('so many are kept of each tenant, in each minute', () => {
  const traces = new CallerTraces(2)
  const keeps = (tenant: string, now: number) => [1, 2, 3].map(() => traces.keepsOneMore(tenant, now))
  expect(keeps('a', 59_999)).toEqual([true, true, false])
  expect(keeps('b', 59_999)).toEqual([true, true, false])
  expect(keeps('a', 60_000)).toEqual([true, true, false])
  expect(new CallerTraces(0).keepsOneMore('a', 0)).toBe(false)
})
