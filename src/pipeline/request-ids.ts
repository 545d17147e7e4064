import { hash, hkdfSync, timingSafeEqual } from 'node:crypto'
import { randomPool } from '../runtime/random-pool.ts'
import { requestTimeOf } from '../runtime/request-time.ts'

const MAC_BYTES = 4
const BYTES = 16
const TIME_BYTES = 6

/**
 * Ids of requests: UUIDs of version 8 (RFC 9562, 5.8) that hold their time and a short code by which every replica
 * under the same identity secret knows the ids that it, or another one, gave to a tenant's requests. So feedback on an
 * answer that is not written down yet can be told from feedback on one that never was.
 */
export class RequestIds {
  #key: string
  readonly #random = randomPool(BYTES)

  constructor(secret: string) {
    this.#key = keyOf(secret)
  }

  /** From now on another secret: ids given before are not known any more. */
  use(secret: string): void {
    this.#key = keyOf(secret)
  }

  /** @param now Unix milliseconds */
  next(tenant: string, now: number): string {
    const bytes = this.#random()
    bytes.writeUIntBE(now, 0, TIME_BYTES)
    bytes[6] = (bytes[6]! & 0x0f) | 0x80
    bytes[8] = (bytes[8]! & 0x3f) | 0x80
    const id = bytes.toString('hex', 0, BYTES - MAC_BYTES)
    const hex = id + this.#code(tenant, id)
    return `req_${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }

  /** When a request of this tenant got this id, Unix milliseconds; null where none did. */
  timeOf(tenant: string, id: string): number | null {
    const at = requestTimeOf(id)
    if (at === null) return null
    const all = id.slice('req_'.length).replaceAll('-', '')
    const head = all.slice(0, 2 * (BYTES - MAC_BYTES))
    const [given, right] = [Buffer.from(all.slice(head.length)), Buffer.from(this.#code(tenant, head))]
    return timingSafeEqual(given, right) ? at : null
  }

  /** The key first: no other text of this form can be made from a code (and most of the digest is not told). */
  #code(tenant: string, head: string): string {
    return hash('sha256', `${this.#key}${head}${tenant}`).slice(0, 2 * MAC_BYTES)
  }
}

const keyOf = (secret: string) => Buffer.from(hkdfSync('sha256', secret, '', 'request ids', 32)).toString('hex')
