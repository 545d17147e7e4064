#!/usr/bin/env node
// Runs every check: the TypeScript side and the Python side at the same time.
//   npm test                                    everything
//   npm test -- --only vitest                   one of them (or several: --only ruff,mypy)
//   npm test -- --only vitest test/server -t key  what follows goes to that one
import { delimiter, join } from 'node:path'
import { findNode } from '../bin/node-runtime.mjs'
import { runLanes, summarise } from './lib/lanes.mjs'
import { cacheBin, inVenv, root, routerModel } from './lib/paths.mjs'

const node = findNode(root) ?? process.execPath
const colour = process.stdout.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' }
const env = {
  ...process.env,
  ...colour,
  PATH: [cacheBin, join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter),
}
/** Two cores: PyTorch keeps to one while vitest has the other. */
const pythonEnv = { ...env, OMP_NUM_THREADS: '1' }

/**
 * @param {string} name
 * @param {string} script of a package in node_modules
 * @param {string[]} args
 */
const js = (name, script, args) => ({
  name,
  command: node,
  args: [join(root, 'node_modules', script), ...args],
  cwd: root,
  env,
})

/**
 * @param {string} name also the name of the program
 * @param {string[]} args
 */
const python = (name, args) => ({ name, command: inVenv(name), args, cwd: routerModel, env: pythonEnv })

/** Tests that passed only when they were tried again are among them: they fail the run. */
const VITEST_CLOSING = /^ *(?:Test Files|Tests|Flaky|Duration) /

const lanes = [
  [
    { name: 'audit', command: node, args: [join(root, 'scripts', 'audit.mjs')], cwd: root, env },
    { name: 'lint', command: node, args: [join(root, 'scripts', 'lint.mjs')], cwd: root, env },
    js('tsc', 'typescript/bin/tsc', ['--noEmit']),
    js('knip', 'knip/bin/knip.js', ['--no-progress', '--no-config-hints']),
    js('knip-src', 'knip/bin/knip.js', ['--no-progress', '--no-config-hints', '--production']),
    { ...js('vitest', 'vitest/vitest.mjs', ['run']), closing: VITEST_CLOSING },
    // What fails where the cores are busy: deadlines that take a timer for the truth.
    {
      name: 'busy',
      command: node,
      args: [join(root, 'scripts', 'test-busy.mjs'), '--short'],
      cwd: root,
      env,
      closing: VITEST_CLOSING,
    },
  ],
  [
    python('ruff', ['check', '.']),
    python('mypy', ['.']),
    { ...python('pytest', []), closing: /\b(?:passed|failed|errors?|no tests ran)\b.* in [\d.]+s/ },
  ],
]
const names = lanes.flat().map(({ name }) => name)

function usage(/** @type {string} */ problem) {
  console.error(`${problem}\nusage: npm test -- [--only ${names.join('|')}[,…] [arguments for it]]`)
  process.exit(2)
}

const [flag, list = '', ...rest] = process.argv.slice(2)
if (flag !== undefined && flag !== '--only') usage(`Unknown argument: ${flag}`)
const wanted = flag ? list.split(',') : names
const unknown = wanted.find((name) => !names.includes(name))
if (unknown !== undefined) usage(`No such check: "${unknown}"`)
if (rest.length > 0 && wanted.length > 1) usage('Arguments can go to one check only')

const started = Date.now()
const chosen = lanes.map((lane) =>
  lane.filter(({ name }) => wanted.includes(name)).map((check) => ({ ...check, args: [...check.args, ...rest] })),
)
const results = await runLanes(chosen)
process.stdout.write(summarise(results, Date.now() - started))
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
