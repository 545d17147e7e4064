#!/usr/bin/env node
// Runs a command of a Python package (router_model, personabench) in their environment, which is put in place first
// where missing.
//   npm run retrain -- --from sqlite:data/persona-router.db
import { spawn } from 'node:child_process'
import { inVenv } from './lib/paths.mjs'
import { ensurePython } from './lib/python.mjs'
import { SetupError } from './lib/setup-error.mjs'

try {
  await ensurePython()
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(error.render())
  process.exit(1)
}

const child = spawn(inVenv('python'), ['-m', ...process.argv.slice(2)], {
  // npm runs scripts in the package's folder; paths on the command line are meant from where the user is.
  cwd: process.env.INIT_CWD ?? process.cwd(),
  stdio: 'inherit',
})
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => child.kill(signal))
child.on('close', (code) => {
  process.exitCode = code ?? 1
})
