import { spawn } from 'node:child_process'

const QUIET_MS = 2000
const HEARTBEAT_MS = 15_000
const FRAME_MS = 100
const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'

/** @param {number} ms */
export const seconds = (ms) => `${ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)} s`

/**
 * Shows that work goes on, from its third second: a spinner on a terminal, else a line now and then.
 *
 * @param {() => string} describe what is going on now
 * @param {NodeJS.WriteStream} [out]
 * @returns {{ clear(): void, stop(): void }} `clear` makes room for other output, `stop` ends it
 */
export function showProgress(describe, out = process.stderr) {
  const started = Date.now()
  let frame = 0
  let shown = false
  let said = started + QUIET_MS - HEARTBEAT_MS

  const clear = () => {
    if (shown) out.write('\r\x1b[K')
    shown = false
  }
  const tick = () => {
    const elapsed = Date.now() - started
    if (elapsed < QUIET_MS) return
    if (out.isTTY) {
      const line = `${FRAMES[frame++ % FRAMES.length]} ${describe()} (${seconds(elapsed)})`
      out.write(`\r\x1b[K${line.slice(0, (out.columns || 80) - 1)}`)
      shown = true
    } else if (Date.now() - said >= HEARTBEAT_MS) {
      said = Date.now()
      out.write(`… ${describe()} (${seconds(elapsed)})\n`)
    }
  }
  const timer = setInterval(tick, out.isTTY ? FRAME_MS : 500)
  return {
    clear,
    stop() {
      clearInterval(timer)
      clear()
    },
  }
}

/**
 * Runs a command to its end, with progress; reports it if it took longer than two seconds.
 *
 * @param {string} title in the -ing form: "installing npm packages"
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<{ ok: boolean, tail: string }>} `tail`: the last lines that it printed
 */
export async function step(title, command, args, options = {}) {
  const started = Date.now()
  /** @type {string[]} */
  let lines = []
  const progress = showProgress(() => {
    const latest = lines[lines.length - 1]
    return process.stderr.isTTY && latest ? `${title}: ${latest.trim()}` : title
  })
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  const collect = (/** @type {Buffer} */ chunk) => {
    lines = lines.concat(chunk.toString().split('\n').filter(Boolean)).slice(-25)
  }
  child.stdout.on('data', collect)
  child.stderr.on('data', collect)

  const ok = await new Promise((resolve) => {
    child.on('error', (error) => {
      lines.push(error.message)
      resolve(false)
    })
    child.on('close', (code) => resolve(code === 0))
  })
  progress.stop()
  const took = Date.now() - started
  if (ok && took >= QUIET_MS) process.stderr.write(`✓ ${title}: ${seconds(took)}\n`)
  return { ok, tail: lines.join('\n') }
}
