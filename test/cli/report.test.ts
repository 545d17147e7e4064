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
  const counting = { mode: 'assist', explore: true, minAnswers: 3, minAgeHours: 24 } as const
  const text = reportMarkdown(report, [], [], counting)
  expect(text).toContain('Not certified yet: no rating counts so far. One counts where the model was drawn')
  expect(text).toContain('users who are held out. A user is heard once they have spoken of 3 answers, and 24 hours')
  const observed = reportMarkdown(report, [], [], { ...counting, mode: 'observe' })
  expect(observed).toContain('In `observe` none can: the baseline answers everything. Use `assist`.')
  expect(observed).not.toContain('asked for by name')
  expect(reportMarkdown(report, [], [], { ...counting, explore: false })).toContain('With `explore: false` none can')
  expect(text).toContain('| $0.000023 | $0.0000 | -$1.50 |')
  expect(reportMarkdown(report, null, [], counting)).toContain('No baseline is configured')
})
