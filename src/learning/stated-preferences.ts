import { z } from 'zod'
import { type PresentNames, presentNames } from '../candidates/former-names.ts'
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

/**
 * What a store holds, with the present names of candidates (`formerly`): to be shown. What is stored keeps the names of
 * its time, so that a renaming that is taken back loses nothing.
 */
export function withPresentNames(
  stored: Record<string, unknown>,
  candidates: Parameters<typeof presentNames>[0],
): Record<string, unknown> {
  const names = presentNames(candidates)
  if (names.size === 0) return stored
  const { allow, deny, prefer } = statedPreferences(stored)
  return {
    ...stored,
    ...(allow && { allow: nowNamed(allow, names) }),
    ...(deny && { deny: nowNamed(deny, names) }),
    ...(prefer && {
      prefer: Object.fromEntries(Object.entries(prefer).map(([task, one]) => [task, names.get(one) ?? one])),
    }),
  }
}

const nowNamed = (list: readonly string[], names: PresentNames) => [
  ...new Set(list.map((one) => names.get(one) ?? one)),
]
