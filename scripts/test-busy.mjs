#!/usr/bin/env node
// Tests that deal with deadlines, while every core is kept busy by other processes.
//   npm run test:busy                  all of them
//   npm run test:busy -- --short       the part that `npm test` runs
//   npm run test:busy -- test/x -t y   these ones
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { root } from './lib/paths.mjs'

/** Twice as many as there are cores: whoever wants one has to wait for it. */
const BURNERS = 2 * availableParallelism()
/** Burners end by themselves, should this process be killed. */
const AT_MOST_MS = 15 * 60_000

const SHORT = ['test/runtime', 'test/providers/forward/deadline.test.ts', 'test/e2e/limits.test.ts']
const ALL = [
  ...SHORT,
  'test/store',
  'test/faults/store-redis.test.ts',
  'test/faults/store-gateway.test.ts',
  'test/faults/idempotency.test.ts',
  'test/faults/client-budgets.test.ts',
  'test/providers',
  'test/learning',
]

/** Whatever is still going on then has come to a stop. */
const PATIENT = ['--testTimeout=180000', '--hookTimeout=180000']

const args = process.argv.slice(2)
const chosen = args[0] === '--short' ? [...SHORT, ...args.slice(1)] : args.length > 0 ? args : ALL

const burn = `const end = Date.now() + ${AT_MOST_MS}; while (Date.now() < end && process.ppid === ${process.pid});`
const burners = Array.from({ length: BURNERS }, () => spawn(process.execPath, ['-e', burn], { stdio: 'ignore' }))
const stop = () => {
  for (const burner of burners) burner.kill('SIGKILL')
}
process.on('exit', stop)
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => process.exit(1))

const vitest = spawn(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...PATIENT, ...chosen], {
  cwd: root,
  stdio: 'inherit',
})
const [code] = await once(vitest, 'exit')
process.exit(code ?? 1)
