import type { Quantiles } from './quantiles.ts'

/** Stands in a body where each request has a number of its own: nobody asks the same question twice. */
export const NUMBER = '#########'

/** What the load generator is to do. */
export interface Order {
  port: number
  headers: Record<string, string>
  body: string
  /** Requests in flight at once, each on a connection of its own. */
  inFlight: number
  seconds: number
  /** Ids that `x-user-id` takes in turn. */
  users: number
  /** The first of them; 0 where left out. */
  firstUser?: number
  /** Open `inFlight` streams and keep them. */
  hold?: boolean
  /** So many requests are due a second, whether or not those before have been answered, on `inFlight` connections. */
  perSecond?: number
}

/** An answer: what it says of who chose it, and how long after its request was due it came. */
export interface Told {
  id: string
  policy: string
  ms: number
}

export interface Report {
  /** That were answered with 200. */
  requests: number
  errors: number
  seconds: number
  latencyMs: Quantiles
  firstByteMs: Quantiles
  /** Where `perSecond` was asked for: the answers with 200. */
  told?: Told[]
}
