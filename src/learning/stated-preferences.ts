import { z } from 'zod'
import { TASK_NAME } from '../routing/artifact/tasks.ts'

const name = z.string().min(1).max(128)
const names = z.array(name).max(256)

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
  /** Who answers, by kind of task: as far as the bounds allow it. */
  prefer: z.record(z.string().regex(TASK_NAME, 'a kind of task in lower case'), name).optional(),
  explore: z.boolean().optional(),
})

export type StatedPreferences = z.output<typeof preferencesSchema>

const NONE: StatedPreferences = {}

/** Reads what the store holds; a field that this version does not understand counts as not stated. */
export function statedPreferences(stored: Record<string, unknown>): StatedPreferences {
  for (const _ in stored) return understood(stored)
  return NONE
}

function understood(stored: Record<string, unknown>): StatedPreferences {
  const { data, error } = preferencesSchema.safeParse(stored)
  if (data) return data
  const strange = new Set(
    error.issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : String(issue.path[0]))),
  )
  const rest = Object.entries(stored).filter(([field]) => !strange.has(field))
  return preferencesSchema.safeParse(Object.fromEntries(rest)).data ?? NONE
}
