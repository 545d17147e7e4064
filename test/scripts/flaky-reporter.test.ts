import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'

function run(env: Record<string, string>) {
  return spawnSync(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/scripts/fixtures/flaky.config.ts'],
    { encoding: 'utf8', env: { PATH: process.env.PATH, NO_COLOR: '1', ...env } },
  )
}

it('a test that fails once and then passes makes the run red, and is told by name and why', () => {
  const { status, stdout } = run({})
  expect(stdout).toMatch(/Tests +2 passed/)
  expect(stdout).toMatch(/^ +Flaky {2}flaky\.ts > some tests > passes when tried again$/m)
  expect(stdout).toMatch(/tried again\n +\S.* \(line \d+\)$/m)
  expect(stdout).not.toMatch(/Flaky.*passes at once/)
  expect(status).toBe(1)
})

it('one that passes at once does not', () => {
  const { status, stdout } = run({ STEADY: '1' })
  expect(stdout).not.toContain('Flaky')
  expect(status).toBe(0)
})
