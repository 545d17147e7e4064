/**
 * Milliseconds that work in company waits for more, so that they share a run, a script, a write. It costs less than it
 * saves (docs/profile.md).
 */
const WAIT_MS = 1

let asked = 0
let wasCompany = false
let due: (() => void)[] = []

/**
 * Calls `flush` once for all that ask for it: at the end of this turn of the event loop, or a little later if the last
 * batch held more than one. Flushes run together, in the order asked for, so that requests go on together.
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
