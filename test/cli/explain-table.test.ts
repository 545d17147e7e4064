import { expect, test } from 'vitest'
import { explainTable } from '../../src/cli/explain-table.ts'

const answer = (why_not: string | null) => ({
  chosen: 'a',
  reason: why_not === null ? 'stated' : 'sticky',
  policy: 'v1',
  stated: { task: 'code', candidate: why_not === null ? 'a' : 'b', why_not },
  candidates: [{ name: 'a', mean: 0.5, std: 0.1 }],
})

test('says whom the user stated, and why another answers', () => {
  expect(explainTable(answer(null))).toContain('a (stated), policy v1\nstated: a for code\n\n')
  for (const why of ['can not read images', 'the model that called a tool reads its result']) {
    expect(explainTable(answer(why))).toContain(`stated: b for code; not this time: ${why}\n`)
  }
  expect(explainTable({ ...answer(null), stated: null })).toContain('a (stated), policy v1\n\n')
})
