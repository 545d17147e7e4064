import { delimiter } from 'node:path'
import { defineConfig } from 'vitest/config'
import { cacheBin } from './scripts/lib/paths.mjs'
import { FlakyReporter } from './test/support/flaky-reporter.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // What fails twice is broken; what fails once is red, too, and named.
    retry: 1,
    reporters: ['default', new FlakyReporter()],
    // A redis-server that setup fetched is found by name, like an installed one.
    env: { PATH: [cacheBin, process.env.PATH].join(delimiter) },
  },
})
