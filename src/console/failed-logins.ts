import { LRUCache } from 'lru-cache'
import { GatewayError } from '../errors.ts'

const WINDOW_MS = 60_000
/** From one address, and from all. */
const MOST = { address: 10, all: 1_000 }
const ADDRESSES = 10_000
/** Who has one address of IPv6 has its first 64 bits. */
const NETWORK = /^(?:[0-9a-f]{1,4}:){1,4}/i

/**
 * Wrong keys within the last minute: beyond ten from an address nobody there may try another. Others may, so that
 * whoever guesses keeps no operator out (unless they come by the same proxy).
 */
export class FailedLogins {
  readonly #byAddress = new LRUCache<string, number[]>({ max: ADDRESSES, ttl: WINDOW_MS })
  #all: number[] = []

  note(address: string): void {
    const now = performance.now()
    this.#all = [...since(this.#all, now), now]
    const network = networkOf(address)
    this.#byAddress.set(network, [...since(this.#byAddress.get(network) ?? [], now), now])
  }

  /** @throws GatewayError 429 */
  refuseFlood(address: string): void {
    const now = performance.now()
    refuse(since(this.#byAddress.get(networkOf(address)) ?? [], now), MOST.address, now)
    refuse(since(this.#all, now), MOST.all, now)
  }
}

/** Of IPv4 in the form of IPv6 the whole address. */
const networkOf = (address: string) =>
  address.includes('.') ? address.replace(/^.*:/, '') : (NETWORK.exec(address)?.[0] ?? address)

const since = (times: readonly number[], now: number) => times.filter((at) => now - at < WINDOW_MS)

function refuse(times: readonly number[], most: number, now: number): void {
  const [first] = times
  if (first === undefined || times.length < most) return
  throw new GatewayError('Too many wrong keys: wait a minute.', {
    status: 429,
    type: 'rate_limit_error',
    code: 'too_many_logins',
    retryAfterS: (WINDOW_MS - (now - first)) / 1e3,
  })
}
