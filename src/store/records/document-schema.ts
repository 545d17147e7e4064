import { z } from 'zod'
import type { RewardDocument, StoredInteraction } from './documents.ts'
import { REWARD_KINDS } from './records.ts'
import { candidateDocuments, readCandidates } from './scored-candidates.ts'

const id = z.string().min(1).max(512)
const count = z.number().int().nonnegative()
const unixMs = z.number().int().nonnegative()

const candidate = z.object({
  name: z.string(),
  mean: z.number().nullable(),
  std: z.number().nullable(),
  predicted_cost_usd: z.number(),
  propensity: z.number().min(0).max(1),
})

/** The numbers are checked as the rows that they stand for: NaN in a column is null. */
const table = z
  .object({
    names: z.array(z.string()),
    columns: z.array(z.enum(['mean', 'std', 'predicted_cost_usd', 'propensity'])),
    float32: z.base64(),
  })
  .superRefine((document, context) => {
    try {
      const checked = z.array(candidate).safeParse(candidateDocuments(readCandidates(document)))
      for (const { path, message } of checked.error?.issues ?? []) context.addIssue({ code: 'custom', path, message })
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
    }
  })

const candidates = z.union([z.array(candidate), table])

/**
 * Documents that come from a file, hence from anywhere: exported, or as a spool has them. Shape and meaning:
 * `docs/records.md`.
 */
export const interactionSchema: z.ZodType<StoredInteraction> = z.object({
  id,
  ts: unixMs,
  tenant: id,
  user: z.string(),
  conversation: z.string().nullable(),
  embedding: z.object({ int8: z.base64(), scale: z.number() }).nullable(),
  embedder: z.string(),
  text: z.string().nullable(),
  text_expires_at: unixMs.exactOptional(),
  candidates,
  policy: z.string(),
  chosen: z.string(),
  reason: z.enum(['personal', 'cold_start', 'sticky', 'explicit', 'explore', 'fallback']),
  attempts: z.array(
    z.object({
      candidate: z.string(),
      provider: z.string(),
      status: z.number().int().nullable(),
      error: z.string().nullable(),
      ms: z.number(),
    }),
  ),
  usage: z.object({
    prompt_tokens: count,
    completion_tokens: count,
    cached_tokens: count,
    cache_write_tokens: count,
    reasoning_tokens: count,
  }),
  usage_estimated: z.boolean(),
  cost_usd: z.number(),
  ttft_ms: z.number().nullable(),
  total_ms: z.number(),
  overhead_us: z.number(),
  finish_reason: z.string(),
  status: z.number().int(),
  stream: z.boolean(),
  tools: z.boolean(),
  modalities: z.array(z.string()),
  completion_id: z.string().nullable(),
  key: z.string().exactOptional(),
  endpoint: z.string().exactOptional(),
  arm: z.enum(['route', 'baseline', 'holdout']).exactOptional(),
  baseline_usd: z.number().nullable().exactOptional(),
  gain: z
    .object({
      baseline: z.string(),
      policy: z.string(),
      group: z.enum(['new', 'known', 'regular']),
      weight: z.number(),
      least: z.number(),
      largest: z.number(),
    })
    .nullable()
    .exactOptional(),
  shadow: z.object({ policy: z.string(), candidates }).exactOptional(),
})

export const rewardSchema: z.ZodType<RewardDocument> = z.object({
  interaction: id,
  tenant: id,
  user: z.string(),
  kind: z.enum(REWARD_KINDS),
  value: z.number().min(-1).max(1),
  weight: z.number().nonnegative(),
  binary: z.boolean(),
  ts: unixMs,
  preferred_model: z.string().nullable(),
  comment: z.string().nullable(),
})
