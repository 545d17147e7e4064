import { GatewayError } from '../errors.ts'

const WINDOW_MS = 60_000
const MOST = 10

/** Wrong keys within the last minute: beyond ten, nobody may try another. */
export class FailedLogins {
  #at: number[] = []

  note(): void {
    this.#at.push(performance.now())
  }

  /** @throws GatewayError 429 */
  refuseFlood(): void {
    const now = performance.now()
    this.#at = this.#at.filter((at) => now - at < WINDOW_MS)
    const [first] = this.#at
    if (first === undefined || this.#at.length < MOST) return
    throw new GatewayError('Too many wrong keys: wait a minute.', {
      status: 429,
      type: 'rate_limit_error',
      code: 'too_many_logins',
      retryAfterS: (WINDOW_MS - (now - first)) / 1e3,
    })
  }
}
