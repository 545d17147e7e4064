import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createMetrics } from '../../src/observability/metrics.ts'
import { tellingOfRows } from '../../src/services/rows-passed-by.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('rows that were passed by are counted each time, and told once a minute and tenant, none left out', async () => {
  const metrics = createMetrics()
  const warn = vi.fn()
  const passedBy = tellingOfRows({ metrics, log: { warn } })
  for (const rows of [1, 2, 3]) passedBy('acme', rows)
  passedBy('beta', 7)
  vi.advanceTimersByTime(60_000)
  passedBy('acme', 4)
  expect(warn.mock.calls.map(([what]) => what)).toEqual([
    { tenant: 'acme', rows: 1 },
    { tenant: 'beta', rows: 7 },
    { tenant: 'acme', rows: 9 },
  ])
  const text = await metrics.registry.metrics()
  expect(text).toContain('persona_router_rows_passed_by_total{tenant="acme"} 10')
})
