import { FairTimer } from './fair-timer.ts'

/**
 * The result of `work`, or of `late` when it takes too long; the work itself goes on. Time in which the event loop was
 * held up is not held against the work (`FairTimer`).
 *
 * @param late gives another value, or throws
 */
export function inTime<T>(work: Promise<T>, ms: number, late: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = new FairTimer(ms, () => {
      try {
        resolve(late())
      } catch (error) {
        reject(error)
      }
    })
    work.then(
      (value) => {
        timer.clear()
        resolve(value)
      },
      (error) => {
        timer.clear()
        reject(error)
      },
    )
  })
}
