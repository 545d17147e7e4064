/**
 * What comes in company waits so long for more of it: then a run, a script, a write are shared. That takes less than it
 * saves (docs/profile.md).
 */
const WAIT_MS = 1

let asked = 0
let wasCompany = false
let due: (() => void)[] = []

/**
 * Calls `flush` once for all that ask for it now: at the end of this turn of the event loop, or where somebody had
 * company the last time, a little later. All that is flushed is flushed together, in the order asked for, so that
 * requests go on together.
 */
export function microBatch(flush: () => void): void {
  if (asked++ === 0) setImmediate(flushSoon)
  if (!due.includes(flush)) due.push(flush)
}

function flushSoon(): void {
  if (wasCompany) setTimeout(flushAll, WAIT_MS)
  else flushAll()
}

function flushAll(): void {
  const flushes = due
  due = []
  wasCompany = asked > flushes.length
  asked = 0
  for (const flush of flushes) flush()
}
