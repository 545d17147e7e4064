import { z } from 'zod'
import type { Candidate } from '../../candidates/candidate.ts'

export const transforms = z.enum(['log10', 'identity', 'flag', 'logit'])
export type Transform = z.output<typeof transforms>

const positive = z.number().positive()
const numbers = z.record(z.string(), z.number())

/** How a card's ability is inferred: the artifact's `ability`. */
export const abilitySchema = z.object({
  mean: z.number(),
  variance: positive,
  /** What fields make expect before any figure. */
  terms: z.array(
    z.object({
      field: z.string(),
      transform: transforms,
      mean: z.number(),
      std: positive,
      slope: z.number(),
      /** A larger value says no more than this one. */
      most: z.number().nullish(),
    }),
  ),
  /** Added where there is no figure at all. */
  unmeasured: z.number().default(0),
  /** Figure = offset + load x ability + aspects + noise, after the transform; `noise`: variance of both of these. */
  figures: z.array(
    z.object({ field: z.string(), transform: transforms, offset: z.number(), load: z.number(), noise: positive }),
  ),
  /** What figures of one kind share beyond ability: unit normal (loads by name). */
  aspects: z.record(z.string(), z.object({ figures: numbers })),
  /** Added to ability, which is that of the best setting. */
  effort: numbers,
})

/** How long a card is expected to write: the artifact's `verbosity`, in natural logs of tokens. */
export const verbositySchema = z.object({
  mean: z.number(),
  variance: positive,
  /** Variance of a measured figure. */
  measured: positive,
  thinking: z.number(),
  effort: numbers,
  vendor: numbers,
})

export type AbilitySpec = z.output<typeof abilitySchema>
export type VerbositySpec = z.output<typeof verbositySchema>

const SMALLEST = 1e-3
const LEAST_SHARE = 0.02
/** Of a figure, as a share of its noise, that is no aspect's. */
const LEAST_NOISE = 0.2

export function transformed(value: number, transform: Transform): number {
  if (transform === 'log10') return Math.log10(Math.max(value, SMALLEST))
  if (transform === 'logit') {
    const share = Math.min(Math.max(value, LEAST_SHARE), 1 - LEAST_SHARE)
    return Math.log(share / (1 - share))
  }
  return transform === 'flag' ? Number(value !== 0) : value
}

/**
 * From Claude 5 on a request that says nothing of thinking is answered with it; before, without (Anthropic's guides on
 * moving to Sonnet 5 and Opus 5).
 */
const THINKS_UNTOLD = /claude-[a-z]+-(?:[5-9]|\d\d)(?!\d)/i

/** Whether it thinks before it answers. Anthropic's before Claude 5 do so only where they are told to. */
export function thinks({ thinking, effort, reasoning, vendor, model }: Candidate): boolean {
  if (thinking !== undefined) return thinking
  if (effort !== undefined) return effort !== 'none'
  return reasoning === true && (vendor !== 'anthropic' || THINKS_UNTOLD.test(model))
}

/** As the tables name it: `none` where one that could think does not; null where nothing is said. */
function effortOf(candidate: Candidate): string | null {
  if (thinks(candidate)) return candidate.effort ?? null
  return candidate.reasoning || candidate.thinking === false || candidate.effort === 'none' ? 'none' : null
}

/**
 * Fields that no card holds itself, inferred from whatever figures it has: `ability`, `ability_sd`, its aspects,
 * `thinking`, `log_verbosity`. router-model's `data/ability.py` computes the same.
 */
export function derivedFields(
  candidate: Candidate,
  fieldOf: (field: string) => number | undefined,
  spec: AbilitySpec,
  verbosity: VerbositySpec,
): Record<string, number> {
  return {
    ...infer(candidate, fieldOf, spec),
    thinking: Number(thinks(candidate)),
    log_verbosity: logVerbosity(candidate, verbosity),
  }
}

function infer(
  candidate: Candidate,
  fieldOf: (field: string) => number | undefined,
  spec: AbilitySpec,
): Record<string, number> {
  let prior = spec.mean
  for (const { field, transform, mean, std, slope, most } of spec.terms) {
    const value = fieldOf(field)
    if (value === undefined) continue
    prior += (slope * (transformed(Math.min(value, most ?? value), transform) - mean)) / std
  }
  if (!spec.figures.some(({ field }) => fieldOf(`benchmarks.${field}`) !== undefined)) prior += spec.unmeasured
  const { means, sd } = posterior(fieldOf, { ...spec, mean: prior })
  const known = candidate.ability
  const ability = known?.mean ?? means[0]!
  const fields: Record<string, number> = { ability_sd: known?.sd ?? sd }
  for (const [k, name] of Object.keys(spec.aspects).entries()) fields[name] = known?.aspects[name] ?? means[k + 1]!
  const effort = effortOf(candidate)
  fields.ability = ability + (effort === null ? 0 : (spec.effort[effort] ?? 0))
  return fields
}

/** Of ability and aspects, all at once, since figures of one kind share an aspect; and ability's deviation. */
function posterior(
  fieldOf: (field: string) => number | undefined,
  { mean, variance, figures, aspects }: AbilitySpec,
): { means: number[]; sd: number } {
  const kinds = Object.values(aspects)
  const prior = [1 / variance, ...kinds.map(() => 1)]
  const precision = prior.map((own, k) => prior.map((_, l) => (k === l ? own : 0)))
  const information = [mean / variance, ...kinds.map(() => 0)]
  for (const { field, transform, offset, load, noise } of figures) {
    const value = fieldOf(`benchmarks.${field}`)
    if (value === undefined) continue
    const loads = [load, ...kinds.map((kind) => kind.figures[field] ?? 0)]
    const shared = loads.slice(1).reduce((sum, one) => sum + one ** 2, 0)
    const own = Math.max(noise - shared, LEAST_NOISE * noise)
    for (const [k, one] of loads.entries()) {
      information[k]! += (one * (transformed(value, transform) - offset)) / own
      for (const [l, other] of loads.entries()) precision[k]![l]! += (one * other) / own
    }
  }
  const unit = information.map((_, k) => Number(k === 0))
  return { means: solve(precision, information), sd: Math.sqrt(solve(precision, unit)[0]!) }
}

/** x of a x = b for a symmetric positive definite a, by elimination. */
function solve(a: readonly (readonly number[])[], b: readonly number[]): number[] {
  const rows = a.map((row, k) => [...row, b[k]!])
  const n = rows.length
  for (let k = 0; k < n; k++) {
    for (let i = k + 1; i < n; i++) {
      const share = rows[i]![k]! / rows[k]![k]!
      for (let j = k; j <= n; j++) rows[i]![j]! -= share * rows[k]![j]!
    }
  }
  const x = new Array<number>(n).fill(0)
  for (let k = n - 1; k >= 0; k--) {
    let left = rows[k]![n]!
    for (let j = k + 1; j < n; j++) left -= rows[k]![j]! * x[j]!
    x[k] = left / rows[k]![k]!
  }
  return x
}

function logVerbosity(candidate: Candidate, spec: VerbositySpec): number {
  const usual = (effort: string) => (effort === 'none' ? 0 : spec.thinking) + (spec.effort[effort] ?? 0)
  const own = thinks(candidate) ? (effortOf(candidate) ?? 'default') : 'none'
  let precision = 1 / spec.variance
  let information = (spec.mean + (spec.vendor[candidate.vendor] ?? 0) + usual(own)) / spec.variance
  for (const [effort, tokens] of Object.entries(candidate.verbosity ?? {})) {
    // Of another effort: moved by what the difference usually makes, and believed less.
    const weight = effort === own ? 1 : (effort === 'none') === (own === 'none') ? 0.25 : 0.1
    precision += weight / spec.measured
    information += (weight * (Math.log(Math.max(tokens, 1)) + usual(own) - usual(effort))) / spec.measured
  }
  return information / precision
}
