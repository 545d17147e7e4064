import { z } from 'zod'
import type { Charge } from '../limits.ts'

const count = z.number()
const schema = z.object({
  tenant: z.string(),
  id: z.string(),
  at: count,
  limits: z.array(
    z.object({
      scope: z.string(),
      what: z.enum(['requests', 'tokens', 'nanoUsd']),
      window: z.enum(['flight', 'minute', 'day', 'month']),
    }),
  ),
  amounts: z.object({ requests: count, tokens: count, nanoUsd: count }),
})

/** A charge as a line of the spool. */
export const chargeLine = ({ tenant, id, at, limits, amounts }: Charge): string => {
  const named = limits.map(({ scope, what, window }) => ({ scope, what, window }))
  return JSON.stringify({ type: 'charge', tenant, id, at, limits: named, amounts })
}

/** @throws ZodError */
export const readCharge = (document: unknown): Charge => schema.parse(document)
