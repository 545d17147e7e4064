import { constants, fstatSync, openSync } from 'node:fs'
import { type DestinationStream, destination, type LevelWithSilent, type Logger, pino } from 'pino'

export type { Logger }

/**
 * Lines wait here while stdout does not take them; what goes beyond is dropped and counted, and never blocks a request.
 */
const MAX_BUFFERED_CHARS = 1024 * 1024
/**
 * Lines of so many milliseconds are written together: a system call for each costs more than all else about it
 * (docs/profile.md).
 */
const WRITE_EVERY_MS = 20
/** At the end: how often a full stdout is tried again, about ten times a second, before what is left is given up. */
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
  const log = pino({ level, base: null, timestamp: isoTime() }, together)
  return {
    log,
    dropped: () => dropped,
    flush: () => {
      isLast = true
      try {
        writeWaiting()
        stdout.flushSync()
      } catch {
        // Nobody reads stdout any more. Destroyed, it is not flushed once more when the process exits.
        stdout.destroy()
      }
    },
  }
}

/** As `pino.stdTimeFunctions.isoTime`: lines of one turn mostly share their millisecond, and its text. */
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
 * A pipe that is full holds up whoever writes to it: a thread of Node's pool, and at the end the process, which waits
 * for that thread. Opened anew it can be told not to, without changing it for those who share it.
 */
function nonBlockingStdout(): number {
  try {
    if (!fstatSync(1).isFIFO()) return 1
    return openSync('/proc/self/fd/1', constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return 1
  }
}
