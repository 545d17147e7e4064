import { z } from 'zod'
import { type Api, CAPABILITIES, DATE } from './candidate.ts'

const dollars = z.number().nonnegative()

/**
 * Formats that a provider speaks. Requests in one of these go to it as they are, those in any other are converted: to
 * chat completions, or to responses where a model takes nothing else.
 */
export const apis = <T extends Api>(known: readonly T[]) =>
  z
    .array(z.enum(known))
    .refine(
      (list: Api[]) => list.includes('chat') || list.includes('responses'),
      "'chat' or 'responses' must be among them",
    )

/** Dollars per million tokens. */
const rates = {
  input: dollars,
  output: dollars,
  cached_input: dollars.optional(),
  cache_write: dollars.optional(),
}

/** A candidate as configured, or as a provider brings it; completed from the catalogue (`catalogue.ts`). */
export const candidateSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/, 'letters, digits and . _ : / @ -, at most 128'),
  provider: z.string(),
  /** Names that it had here before: what was learned and stated under them is its own; clients may go on using them. */
  formerly: z.array(z.string().min(1)).optional(),
  /** What the provider calls it; the name where left out. */
  model: z.string().optional(),
  vendor: z.string().optional(),
  description: z.string().optional(),
  /** Dollars per million tokens; from the catalogue where left out. */
  price: z
    .strictObject({
      ...rates,
      /** What all tokens cost where a prompt has more than so many: `[{ tokens: 200000, input: 2.5, output: 15 }]`. */
      above: z.array(z.strictObject({ tokens: z.number().int().positive(), ...rates })).optional(),
    })
    .optional(),
  context_window: z.number().int().positive().optional(),
  max_output_tokens: z.number().int().positive().optional(),
  capabilities: z.array(z.enum(CAPABILITIES)).optional(),
  /** As its provider's, where this model differs. */
  api: apis(['chat', 'responses', 'messages', 'completions']).optional(),
  groups: z.array(z.string()).default(['default']),
  explore: z.boolean().default(true),
  size_b: z.number().positive().optional(),
  open_weights: z.boolean().optional(),
  /** When it came out: 2026-07, or 2026-07-24; where left out, as config/abilities.json or the catalogue has it. */
  released: z.string().regex(DATE, 'a month (2026-07) or a day (2026-07-24)').optional(),
  /** It can think before it answers. */
  reasoning: z.boolean().optional(),
  /**
   * Whether it does; from `defaults`, else as its maker has it. Anthropic's do only where a budget or effort says so.
   */
  thinking: z.boolean().optional(),
  effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).optional(),
  /** Tokens of one reply to a short question, thoughts included, where somebody measured it. */
  verbosity: z.number().positive().optional(),
  /** Its name in config/abilities.json, where neither name nor model is one. */
  known_as: z.string().optional(),
  benchmarks: z.record(z.string(), z.number()).default({}),
  defaults: z.record(z.string(), z.unknown()).optional(),
})

/** A model that embeds: asked by `POST /v1/embeddings` under its name or an alias, never chosen for anybody. */
export const embeddingModelSchema = z.strictObject({
  name: candidateSchema.shape.name,
  provider: z.string(),
  /** What the provider calls it; the name where left out. */
  model: z.string().optional(),
  /** Dollars per million tokens; may be left out for a local server alone. */
  price: z.strictObject({ input: dollars }).optional(),
  groups: z.array(z.string()).default(['default']),
  /** Other names that clients send; a `*` stands for any characters. */
  aliases: z.array(z.string().regex(/^[\x21-\x7e]{1,128}$/)).default([]),
})

export type EmbeddingModelConfig = z.output<typeof embeddingModelSchema>
export type CandidateConfig = z.output<typeof candidateSchema>
