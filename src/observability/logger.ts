import { type DestinationStream, destination, type Logger, pino } from 'pino'
import type { Config } from '../config.ts'

export type { Logger }

/** Lines wait here while stdout does not take them; what goes beyond is dropped and counted, and never blocks a request. */
const MAX_BUFFERED_CHARS = 1024 * 1024
/** Lines are written together: a system call for each costs more than all else about it (docs/profile.md). */
const WRITE_TOGETHER = { minLength: 8 * 1024, periodicFlush: 100 }

export interface LogOutput {
  log: Logger
  dropped(): number
  flush(): void
}

/** JSON lines on stdout. Never log a key, a prompt, a header or a body: log names, counts, codes and times. */
export function createLogger(level: Config['log']['level']): LogOutput {
  let dropped = 0
  const stdout = destination({ fd: 1, sync: false, ...WRITE_TOGETHER, maxLength: MAX_BUFFERED_CHARS })
  stdout.on('drop', () => dropped++)
  stdout.on('error', () => dropped++)
  const log = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, stdout as DestinationStream)
  return {
    log,
    dropped: () => dropped,
    flush: () => {
      try {
        stdout.flushSync()
      } catch {
        // Nobody reads stdout any more.
      }
    },
  }
}
