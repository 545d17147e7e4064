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
  /** Open `inFlight` streams and keep them. */
  hold?: boolean
}

export interface Report {
  /** That were answered with 200. */
  requests: number
  errors: number
  seconds: number
  latencyMs: Quantiles
  firstByteMs: Quantiles
}
