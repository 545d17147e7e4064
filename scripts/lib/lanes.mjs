import { spawn } from 'node:child_process'
import { stripVTControlCharacters } from 'node:util'
import { seconds, showProgress } from './progress.mjs'

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {string} command
 * @property {string[]} args
 * @property {string} cwd
 * @property {NodeJS.ProcessEnv} [env]
 * @property {RegExp} [closing] finds the runner's own closing lines in its output
 *
 * @typedef {object} Result
 * @property {string} name
 * @property {boolean} passed
 * @property {number} ms
 * @property {string[]} closing
 */

/**
 * @param {Check} check
 * @param {Set<import('node:child_process').ChildProcess>} running
 * @returns {Promise<Result & { output: string }>}
 */
async function runCheck({ name, command, args, cwd, env, closing }, running) {
  const started = Date.now()
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text))

  const passed = await new Promise((resolve) => {
    child.on('error', (error) => {
      output += `${error.message}\n`
      resolve(false)
    })
    child.on('close', (code) => resolve(code === 0))
  })
  running.delete(child)
  const last = closing ? output.split('\n').filter((line) => closing.test(stripVTControlCharacters(line))) : []
  return { name, passed, ms: Date.now() - started, closing: last, output }
}

/**
 * Runs lanes side by side, and the checks of a lane one after another. What a check prints appears in one piece when it
 * ends. A check that fails does not stop the others.
 *
 * @param {Check[][]} lanes
 * @param {NodeJS.WriteStream} [out]
 * @returns {Promise<Result[]>} in the order of ending
 */
export async function runLanes(lanes, out = process.stdout) {
  const running = new Set()
  /** @type {string[]} */
  const now = []
  /** @type {Result[]} */
  const results = []
  const progress = showProgress(() => `running ${now.join(', ')}`, out)

  const stop = (/** @type {NodeJS.Signals} */ signal) => {
    for (const child of running) child.kill(signal)
    progress.stop()
    process.exit(signal === 'SIGINT' ? 130 : 143)
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)

  const runLane = async (/** @type {Check[]} */ lane) => {
    for (const check of lane) {
      now.push(check.name)
      const { output, ...result } = await runCheck(check, running)
      now.splice(now.indexOf(check.name), 1)
      progress.clear()
      out.write(`\n── ${check.name}: ${result.passed ? 'passed' : 'FAILED'} in ${seconds(result.ms)} ──\n`)
      if (output.trim()) out.write(`${output.trimEnd()}\n`)
      results.push(result)
    }
  }
  await Promise.all(lanes.map(runLane))
  progress.stop()
  process.off('SIGINT', stop).off('SIGTERM', stop)
  return results
}

/**
 * The runners' own closing lines, then a line a check.
 *
 * @param {Result[]} results
 * @param {number} ms from start to end
 * @param {string} [again] command that a check's name completes
 */
export function summarise(results, ms, again = 'npm test -- --only') {
  const closing = results.filter((result) => result.closing.length > 0)
  const failed = results.filter((result) => !result.passed)
  return [
    '',
    '── summary ──',
    ...results.map(({ name, passed, ms }) => `${passed ? '✓' : '✗'} ${name.padEnd(8)} ${seconds(ms)}`),
    '',
    ...closing.flatMap(({ name, closing }) => [`${name}:`, ...closing]),
    '',
    failed.length === 0
      ? `All is well, in ${seconds(ms)}.`
      : `Failed: ${failed.map(({ name }) => name).join(', ')}. Again, alone: ${again} ${failed[0]?.name}`,
    `checks: ${results.length - failed.length} passed, ${failed.length} failed`,
    '',
  ].join('\n')
}
