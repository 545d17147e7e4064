let waiting: (() => void)[] = []

/**
 * Does some work at the end of this turn of the event loop, after what was asked for earlier; work that asks for more
 * gets it in the same turn.
 */
export function atEndOfTick(work: () => void): void {
  if (waiting.length === 0) setImmediate(doAll)
  waiting.push(work)
}

function doAll(): void {
  let done = 0
  try {
    while (done < waiting.length) waiting[done++]!()
  } finally {
    // One that throws harms no other.
    waiting = waiting.slice(done)
    if (waiting.length > 0) setImmediate(doAll)
  }
}
