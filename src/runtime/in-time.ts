/**
 * What work comes to, or `late` when it takes too long; the work itself goes on. Where the event loop was held up, what
 * has arrived meanwhile is looked at before it is called late.
 *
 * @param late gives another value, or throws
 */
export async function inTime<T>(work: Promise<T>, ms: number, late: () => T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<null>((resolve) => {
    timer = setTimeout(() => setImmediate(() => resolve(null)), Math.max(0, ms))
  })
  try {
    const done = await Promise.race([work.then((value) => ({ value })), tooLong])
    return done === null ? late() : done.value
  } finally {
    clearTimeout(timer)
  }
}
