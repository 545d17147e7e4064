import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** After the start, and from then on. */
const FIRST_MS = 2_000
const EVERY_MS = 60_000

/** Requests: how many are in work, and how many began so far. */
interface Work {
  readonly size: number
  readonly begun: number
}

/**
 * Does something once whenever there has been nothing to do for a while.
 *
 * @returns ends it
 */
export function whenIdle(work: Work, rest: () => void, { firstMs = FIRST_MS, everyMs = EVERY_MS } = {}): () => void {
  let seen = 0
  let isResting = false
  const look = () => {
    const isIdle = work.size === 0 && work.begun === seen
    seen = work.begun
    if (isIdle && !isResting) rest()
    isResting = isIdle
    timer = setTimeout(look, everyMs).unref()
  }
  let timer = setTimeout(look, firstMs).unref()
  return () => clearTimeout(timer)
}

let collect: ((options: object) => void) | undefined

/**
 * Gives back what a start, or a busy time, has left of the heap: V8 keeps it until it is needed. Takes a tenth of a
 * second, in which nothing else is done.
 */
export function giveMemoryBack(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as typeof collect
  }
  collect?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
