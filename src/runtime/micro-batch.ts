/**
 * Milliseconds that work in company waits for more, so that they share a run, a script, a write. It costs less than it
 * saves (docs/profile.md).
 */
const WAIT_MS = 1

let asked = 0
let wasCompany = false
let due: (() => void)[] = []
/** Called at once in this turn. */
let begun: (() => void)[] = []

/** Whether the last batch held more than one: requests come in company, and work may wait a moment for the others'. */
export const inCompany = (): boolean => wasCompany

/**
 * Calls `flush` once for all that ask for it: a little later, if the last batch held more than one, so that requests go
 * on together. Otherwise at once for the first who asks in a turn of the event loop: what comes alone waits for nobody;
 * and at that turn's end for those who were company after all. Flushes run together, in the order asked for.
 *
 * @param flush throws nothing
 */
export function microBatch(flush: () => void): void {
  if (asked++ === 0) setImmediate(flushSoon)
  if (!wasCompany && !begun.includes(flush)) {
    begun.push(flush)
    flush()
  } else if (!due.includes(flush)) due.push(flush)
}

function flushSoon(): void {
  if (wasCompany) setTimeout(flushAll, WAIT_MS)
  else flushAll()
}

function flushAll(): void {
  const flushes = due
  wasCompany = asked > new Set([...begun, ...flushes]).size
  due = []
  begun = []
  asked = 0
  for (const flush of flushes) flush()
}
