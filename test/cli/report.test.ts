import { expect, test } from 'vitest'
import { reportMarkdown } from '../../src/cli/report.ts'
import type { Part, Report } from '../../src/learning/report.ts'

const part: Part = {
  requests: 3,
  failed: 0,
  cost_usd: 0.0000234,
  baseline_usd: 0,
  saved_usd: -1.5,
  ratings: 0,
  reward: null,
  reward_interval: null,
  ttft_ms_median: null,
  total_ms_median: null,
} as unknown as Part

const report = {
  tenant: 'acme',
  since: '2026-11-01T00:00:00Z',
  until: '2026-11-08T00:00:00Z',
  total: part,
  by_arm: {},
  by_model: {},
  by_policy: {},
  by_day: {},
  by_group: {},
  against_baseline: { drawn: null, holdout: null },
  trade_offs: [],
  shadows: {},
} as unknown as Report

test('says of a certificate to which nothing counts yet why, and shows small costs as what they are', () => {
  const text = reportMarkdown(report, [], [])
  expect(text).toContain('Not certified yet: no rating counts so far.')
  expect(text).toContain('| $0.000023 | $0.0000 | -$1.50 |')
  expect(reportMarkdown(report, null, [])).toContain('No baseline is configured')
})
