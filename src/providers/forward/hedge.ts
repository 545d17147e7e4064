import { inTime } from '../../runtime/in-time.ts'

type Try<T> = (cancel: AbortSignal) => Promise<T>

/**
 * Runs `first`, and `second` beside it where the first has not settled after `afterMs` (The Tail at Scale, Dean &
 * Barroso 2013). The first good result wins, and the other try is cancelled; where neither is good it is the first's.
 * Rejects as soon as the first rejects.
 */
export async function hedge<T>(
  first: Try<T>,
  second: Try<T>,
  afterMs: number,
  isGood: (result: T) => boolean,
): Promise<T> {
  const cancels = [new AbortController(), new AbortController()] as const
  const one = first(cancels[0].signal)
  const early = await inTime<{ result: T } | null>(
    one.then((result) => ({ result })),
    afterMs,
    () => null,
  )
  if (early) return early.result
  const two = second(cancels[1].signal)
  let won = false
  return new Promise<T>((resolve, reject) => {
    const race = (mine: Promise<T>, loser: AbortController) =>
      mine.then(
        (result) => {
          // Where both are good in one turn, the second to be heard was cancelled by the first.
          if (won || !isGood(result)) return
          won = true
          loser.abort()
          resolve(result)
        },
        () => {},
      )
    race(one, cancels[1])
    race(two, cancels[0])
    one.catch(reject)
    Promise.allSettled([one, two]).then(([mine]) => {
      if (mine.status === 'fulfilled') resolve(mine.value)
    })
  })
}
