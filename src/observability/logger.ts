import { constants, fstatSync, openSync } from 'node:fs'
import { type DestinationStream, destination, type LevelWithSilent, type Logger, pino } from 'pino'
import { errorFields } from './error-fields.ts'

export type { Logger }

/**
 * Lines wait here while stdout does not take them; lines beyond are dropped and counted, and never block a request.
 */
const MAX_BUFFERED_CHARS = 1024 * 1024
/**
 * Lines are collected for this long and written together: a system call for each costs more than all else about it
 * (docs/profile.md).
 */
const WRITE_EVERY_MS = 20
/** Tries to write to a full stdout at the end, about ten a second, before the lines that are left are given up. */
const LAST_TRIES = 10

export interface LogOutput {
  log: Logger
  dropped(): number
  flush(): void
}

/** JSON lines on stdout. Never log a key, a prompt, a header or a body: log names, counts, codes and times. */
export function createLogger(level: LevelWithSilent): LogOutput {
  let dropped = 0
  let isLast = false
  let triesLeft = LAST_TRIES
  const stdout = destination({
    fd: nonBlockingStdout(),
    sync: false,
    minLength: 0,
    maxLength: MAX_BUFFERED_CHARS,
    retryEAGAIN: () => !isLast || triesLeft-- > 0,
  })
  stdout.on('drop', (lines: string) => {
    dropped += lines.split('\n').length - 1
  })
  stdout.on('error', () => dropped++)
  let waiting: string[] = []
  let timer: NodeJS.Timeout | undefined
  const writeWaiting = () => {
    const lines = waiting
    waiting = []
    timer = undefined
    if (lines.length > 0) stdout.write(lines.join(''))
  }
  const together: DestinationStream = {
    write(line) {
      waiting.push(line)
      if (timer === undefined) timer = setTimeout(writeWaiting, WRITE_EVERY_MS)
    },
  }
  const log = pino({ level, base: null, timestamp: isoTime(), serializers: { err: errorFields } }, together)
  return {
    log,
    dropped: () => dropped,
    flush: () => {
      isLast = true
      try {
        writeWaiting()
        stdout.flushSync()
      } catch {
        // The reader of stdout is gone. Destroyed, it is not flushed once more when the process exits.
        stdout.destroy()
      }
    },
  }
}

/** As `pino.stdTimeFunctions.isoTime`: lines of one tick mostly share their millisecond, and its text. */
function isoTime(): () => string {
  let at = 0
  let text = ''
  return () => {
    const now = Date.now()
    if (now !== at) {
      at = now
      text = `,"time":"${new Date(now).toISOString()}"`
    }
    return text
  }
}

/**
 * A full pipe holds up its writer: a thread of Node's pool, and at the end the process, which waits for that thread.
 * Opened anew it can be told not to, without changing it for the processes that share it.
 */
function nonBlockingStdout(): number {
  try {
    if (!fstatSync(1).isFIFO()) return 1
    return openSync('/proc/self/fd/1', constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return 1
  }
}
