import { expect, test } from 'vitest'
import { createMetrics } from '../../src/observability/metrics.ts'

test('the first scrape tells of the process since it began, and no lag that nobody has measured', async () => {
  const { user, system } = process.cpuUsage()
  const metrics = createMetrics()
  // Prometheus may be a pair of servers.
  for (const text of [await metrics.text(), await metrics.text()]) {
    const values = new Map([...text.matchAll(/^(process_cpu\w+|nodejs_eventloop_lag\w+) (\S+)$/gm)].map(sampleOf))
    expect(values.get('process_cpu_user_seconds_total')).toBeGreaterThanOrEqual(user / 1e6)
    expect(values.get('process_cpu_system_seconds_total')).toBeGreaterThanOrEqual(system / 1e6)
    expect(values.get('process_cpu_seconds_total')).toBeGreaterThanOrEqual((user + system) / 1e6)
    const lags = [...values].filter(([name]) => name.startsWith('nodejs_eventloop_lag'))
    expect(lags).toHaveLength(8)
    expect(lags.filter(([, value]) => !(value >= 0 && value < 3_600))).toEqual([])
  }
})

const sampleOf = ([, name, value]: RegExpExecArray): [string, number] => [String(name), Number(value)]
