import { z } from 'zod'

const names = z.array(z.string().min(1).max(128)).max(256)

/**
 * What a tenant states of a user (`PUT /v1/users/{id}/profile`): bounds that a request's headers can narrow, and
 * defaults for the rest.
 */
export const preferencesSchema = z.strictObject({
  cost_weight: z.number().min(0).max(1).optional(),
  max_cost_usd: z.number().nonnegative().optional(),
  max_latency_ms: z.number().nonnegative().optional(),
  allow: names.optional(),
  deny: names.optional(),
  explore: z.boolean().optional(),
})

export type StatedPreferences = z.output<typeof preferencesSchema>

const NONE: StatedPreferences = {}

/** Reads what the store holds; what this version does not understand counts as not stated. */
export function statedPreferences(stored: Record<string, unknown>): StatedPreferences {
  for (const _ in stored) return preferencesSchema.safeParse(stored).data ?? NONE
  return NONE
}
