import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Asks again and again until there is an answer; undefined, null and false are none. What it was asked for last tells
 * the rest.
 */
export async function eventually<T>(
  ask: () => Promise<T | undefined | null | false> | T | undefined | null | false,
  what: string,
  withinMs = 10_000,
): Promise<T> {
  const until = performance.now() + withinMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== null && answer !== false) return answer
    if (performance.now() > until) throw new Error(`Not within ${withinMs} ms: ${what}`)
    await sleep(10)
  }
}
