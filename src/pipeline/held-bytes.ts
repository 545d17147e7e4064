import type { ServerResponse } from 'node:http'
import type { Config } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'

export interface HeldBytesOptions {
  /** Of all requests. */
  max: number
  maxPerTenant: number
}

/** One body always fits. */
export function heldBytesOptions({ server }: Pick<Config, 'server'>): HeldBytesOptions {
  const max = Math.max(server.max_bytes_in_memory, server.max_body_bytes)
  return { max, maxPerTenant: Math.min(max, Math.max(server.max_bytes_per_tenant ?? max / 2, server.max_body_bytes)) }
}

/** Smaller bodies are not worth giving up on. */
const LARGE_BYTES = 64 * 1024

interface TenantBytes {
  bytes: number
  /** Requests whose large body is still arriving. */
  arriving: Set<Holding>
}

/**
 * Bytes of bodies that requests hold in memory, from their arrival to the end of the request, with those of whole
 * answers and of responses that they go on from: bounded over all tenants and for each. Where all together hold too
 * much, the tenant that holds most gives up what is still arriving: slow uploads of one do not keep out another.
 */
export class HeldBytes {
  #options: HeldBytesOptions
  #total = 0
  readonly #tenants = new Map<string, TenantBytes>()

  constructor(options: HeldBytesOptions) {
    this.#options = options
  }

  configure(options: HeldBytesOptions): void {
    this.#options = options
  }

  get total(): number {
    return this.#total
  }

  /** For one request. */
  open(tenant: string): Holding {
    let held = this.#tenants.get(tenant)
    if (!held) {
      held = { bytes: 0, arriving: new Set() }
      this.#tenants.set(tenant, held)
    }
    return new Holding(this, held)
  }

  /** For one request that ends with its response. @param tenant of whom it is, in other words where it is nobody's */
  openFor(response: ServerResponse, tenant: string): Holding {
    const holding = this.open(tenant)
    // One that has ended already does not say so again.
    if (response.destroyed) holding.release()
    else response.once('close', () => holding.release())
    return holding
  }

  isTooMuchForOne(held: TenantBytes, bytes: number): boolean {
    return held.bytes + bytes > this.#options.maxPerTenant
  }

  /** @returns whether there is room for so many more, now that others may have given theirs up */
  makeRoom(held: TenantBytes, bytes: number): boolean {
    while (this.#total + bytes > this.#options.max) if (!this.#giveUpOne(held)) return false
    return true
  }

  add(held: TenantBytes, bytes: number): void {
    held.bytes += bytes
    this.#total += bytes
  }

  /** The largest body that is arriving for the tenant that holds most, where that one holds more than `asking`. */
  #giveUpOne(asking: TenantBytes): boolean {
    let most = asking
    for (const held of this.#tenants.values()) {
      if (held.arriving.size > 0 && held.bytes > most.bytes) most = held
    }
    if (most === asking) return false
    let largest: Holding | undefined
    for (const holding of most.arriving) if (holding.bytes > (largest?.bytes ?? 0)) largest = holding
    largest?.giveUp(allHoldTooMuch())
    return largest !== undefined
  }
}

/** What one request holds. */
export class Holding {
  bytes = 0
  readonly #all: HeldBytes
  readonly #tenant: TenantBytes
  #giveUp: ((error: GatewayError) => void) | null = null
  #onRead: (() => void) | null = null
  #hasEnded = false

  constructor(all: HeldBytes, tenant: TenantBytes) {
    this.#all = all
    this.#tenant = tenant
  }

  /** A body begins to arrive. @param giveUp called where others need its room */
  begin(giveUp: (error: GatewayError) => void): void {
    this.#giveUp = giveUp
  }

  /** @returns why the tenant may not hold a body of this declared size as well */
  refuses(bytes: number): GatewayError | null {
    return this.#all.isTooMuchForOne(this.#tenant, bytes) ? tenantHoldsTooMuch() : null
  }

  /** Holds more. @returns why it may not; then nothing more was taken, as nobody would give it back after the end */
  take(bytes: number): GatewayError | null {
    if (this.#hasEnded) return clientGone()
    if (this.#all.isTooMuchForOne(this.#tenant, bytes)) return tenantHoldsTooMuch()
    if (!this.#all.makeRoom(this.#tenant, bytes)) return allHoldTooMuch()
    this.#all.add(this.#tenant, bytes)
    this.bytes += bytes
    if (this.bytes >= LARGE_BYTES && this.#giveUp) this.#tenant.arriving.add(this)
    return null
  }

  giveUp(error: GatewayError): void {
    const giveUp = this.#giveUp
    this.release()
    giveUp?.(error)
  }

  /** @param onRead called once, when the body is there or will not come */
  whenRead(onRead: () => void): void {
    if (this.#hasEnded) onRead()
    else this.#onRead = onRead
  }

  /** The body is there, or will not come. */
  read(): void {
    this.#giveUp = null
    if (this.bytes >= LARGE_BYTES) this.#tenant.arriving.delete(this)
    const onRead = this.#onRead
    this.#onRead = null
    onRead?.()
  }

  /** The request has ended: nothing is held for it any more. */
  release(): void {
    this.#hasEnded = true
    this.read()
    this.#all.add(this.#tenant, -this.bytes)
    this.bytes = 0
  }
}

const clientGone = () =>
  new GatewayError('The client closed the request.', { status: 499, type: 'api_error', code: 'client_closed_request' })

const tenantHoldsTooMuch = () =>
  new GatewayError('Requests in work and their answers are too large together. Please try again later.', {
    status: 429,
    type: 'rate_limit_error',
    code: 'too_many_bytes',
    retryAfterS: 1,
  })

const allHoldTooMuch = () =>
  new GatewayError('The gateway is overloaded. Please try again later.', {
    status: 503,
    type: 'api_error',
    code: 'overloaded',
    retryAfterS: 1,
  })
