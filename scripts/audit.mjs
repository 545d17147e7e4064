#!/usr/bin/env node
// Asks the npm registry for advisories on what package-lock.json pins.
//   npm run audit               ends with 1 for one of high severity or worse that is not accepted
//   npm run audit -- --python   requirements.lock too, by pip-audit (pip install pip-audit; it asks once a package)
// A registry that can't be reached fails no check: it is reported, and the exit code is 0.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { advisoriesOf, judge } from './lib/advisories.mjs'
import { npm } from './lib/node-modules.mjs'
import { inVenv, root, routerModel } from './lib/paths.mjs'

/** One short try: `npm test` waits for it. */
const NO_WAITING = ['--fetch-retries=0', '--fetch-timeout=10000']

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 */
const run = (command, args, cwd) => spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })

function auditNpm() {
  const { command, args } = npm()
  const { stdout } = run(command, [...args, 'audit', '--json', '--package-lock-only', ...NO_WAITING], root)
  const found = advisoriesOf(stdout)
  if ('error' in found) return console.log(`npm: could not ask the registry for advisories (${found.error}).`)
  const accepted = JSON.parse(readFileSync(join(root, 'scripts', 'accepted-advisories.json'), 'utf8'))
  const { lines, passed } = judge(found.advisories, accepted, new Date())
  console.log(`npm: ${found.advisories.length} advisories.`)
  for (const line of lines) console.log(line)
  if (!passed) process.exitCode = 1
}

function auditPython() {
  const args = ['--requirement', 'requirements.lock', '--no-deps', '--disable-pip', '--progress-spinner', 'off']
  const { error, status, stdout, stderr } = run(inVenv('pip-audit'), args, routerModel)
  if (error) return console.log('Python: pip-audit is not in router-model/.venv.')
  console.log(`${stdout}${stderr}`.trim())
  if (status !== 0) process.exitCode = 1
}

auditNpm()
if (process.argv.includes('--python')) auditPython()
