import { delimiter } from 'node:path'
import { defineConfig } from 'vitest/config'
import { cacheBin } from './scripts/lib/paths.mjs'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Real processes on a shared machine: what fails twice is broken.
    retry: process.env.CI ? 1 : 0,
    // A redis-server that setup fetched is found by name, like an installed one.
    env: { PATH: [cacheBin, process.env.PATH].join(delimiter) },
  },
})
