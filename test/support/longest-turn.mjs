import { writeFileSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

/**
 * Preloaded into a process: on SIGUSR2 it writes into $LONGEST_TURN how many milliseconds of processor the longest turn
 * of its event loop has taken since the last time. Nobody else is served in a turn.
 */
const cpuMs = () => {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1e3
}

const file = process.env.LONGEST_TURN
if (isMainThread && file) {
  let longest = 0
  let last = cpuMs()
  const turn = () => {
    const now = cpuMs()
    longest = Math.max(longest, now - last)
    last = now
    setTimeout(turn, 1).unref()
  }
  turn()
  process.on('SIGUSR2', () => {
    writeFileSync(file, `${longest}`)
    longest = 0
  })
}
