let waiting: (() => void)[] = []

/**
 * Runs work at the end of this turn of the event loop, in the order asked for; work that is added meanwhile runs in the
 * same turn.
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
    // Work that throws must not keep the rest from running.
    waiting = waiting.slice(done)
    if (waiting.length > 0) setImmediate(doAll)
  }
}
