import { z } from 'zod'
import { abilitySchema, transforms, verbositySchema } from '../choose/ability.ts'

const size = z.number().int().nonnegative()
const code = size.max(256)
const dims = z
  .object({
    ...{ E: size, Q: size.default(0), F: size, P: code, C: code, Z: size },
    ...{
      V: size,
      G: size,
      H: size.optional(),
      W: size.default(1),
      S: size,
      D: size.default(0),
      R: size,
      J: size.default(0),
      Y: size.default(0),
    },
  })
  .transform(({ H, ...sizes }) => ({ ...sizes, H: H ?? sizes.G }))

/** What `router.taste` may say; `balanced` says nothing. */
export const STARTS = ['quality', 'frugal'] as const
export type Start = (typeof STARTS)[number]

/** Weights of a state that is a mean [K] and a covariance [K, K]. */
export const weightsOf = (size: number) => (Math.sqrt(4 * size + 1) - 1) / 2

const isGaussian = (size: number, starts: Partial<Record<Start, Record<string, number>>>) => {
  const weights = weightsOf(size)
  return Number.isInteger(weights) && Object.values(starts).every((of) => Object.keys(of).every((i) => +i < weights))
}

/** `manifest.json` of an artifact, as router-model/ARTIFACT.md describes it. Unknown fields are ignored. */
export const manifestSchema = z
  .object({
    schema: z.literal('persona-router/artifact/1'),
    version: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'letters, digits and . _ -, at most 64'),
    created: z.string(),
    files: z.record(
      z.string().refine(isInside, 'a path inside the artifact'),
      z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/), bytes: size }),
    ),
    dims,
    parts: z.array(z.string()).min(1),
    /** What `taste` begins with; the rest are the weights of the codes. Older artifacts say nothing of tastes. */
    tastes: z.array(z.string()).default([]),
    kinds: z.array(z.string()).min(1),
    /** Names of the kinds of people, the usual ones first; older artifacts know these alone. */
    people: z.array(z.string()).default([]),
    card_features: z.array(
      z.object({
        field: z.string(),
        transform: transforms,
        mean: z.number(),
        std: z.number().positive(),
      }),
    ),
    /** How derived card features are inferred; older artifacts have none of either. */
    ability: abilitySchema.nullish(),
    verbosity: verbositySchema.nullish(),
    /** How names and makers become codes. */
    codes: z.enum(['hashed', 'frame']).default('hashed'),
    /** Embeddings of usual questions, [n x E]: what "everybody's favourite" is decided on. */
    usual: z.base64().nullish(),
    /** [E]: added to the embedding of a query that brings tools, times their share; older artifacts have none. */
    tools: z.base64().nullish(),
    forget: z.object({ per_reward: z.number().gt(0).max(1), block: z.number().int().positive().default(1) }),
    embedder: z.object({
      kind: z.string(),
      version: z.string(),
      dim: size,
      files: z.array(z.string().refine(isInside, 'a path inside the artifact')),
    }),
    /** Tells readers of queries apart; older artifacts, whose edge graph takes the query itself, have none. */
    reader: z.string().nullish(),
    aliases: z.record(z.string(), z.array(z.string())),
    /** What a stated taste says of single weights of a user, by the weight's place: see `lean`. */
    starts: z.partialRecord(z.enum(STARTS), z.record(z.string().regex(/^\d+$/), z.number())).nullish(),
  })
  .refine(({ dims, parts }) => parts.length === dims.R, { error: 'dims.R is not the number of parts', path: ['parts'] })
  .refine(({ dims, people }) => people.length === dims.J, {
    error: 'dims.J is not the number of kinds of people',
    path: ['people'],
  })
  .refine(({ dims: { S }, starts }) => !starts || isGaussian(S, starts), {
    error: 'starts are of weights that the state has not',
    path: ['starts'],
  })
  .refine(({ dims: { G, H } }) => H >= G && H % Math.max(G, 1) === 0, {
    error: 'dims.H is not a multiple of dims.G',
    path: ['dims', 'H'],
  })
  .refine(({ dims, card_features }) => 2 * card_features.length === dims.F, {
    error: 'dims.F is not twice the number of card features',
    path: ['card_features'],
  })
  .refine(({ dims: { E }, tools }) => !tools || isFiniteVector(tools, E), {
    error: 'not dims.E finite numbers',
    path: ['tools'],
  })
  .refine(({ dims, embedder }) => embedder.dim === dims.E, {
    error: 'dims.E is not the embedder’s size',
    path: ['embedder', 'dim'],
  })

export type Manifest = z.output<typeof manifestSchema>
export type Dims = Manifest['dims']
export type CardFeature = Manifest['card_features'][number]

function isFiniteVector(base64: string, size: number): boolean {
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.length !== 4 * size) return false
  for (let at = 0; at < bytes.length; at += 4) if (!Number.isFinite(bytes.readFloatLE(at))) return false
  return true
}

function isInside(path: string): boolean {
  return path !== '' && !path.startsWith('/') && !path.includes('\\') && !path.split('/').includes('..')
}

export const GRAPHS = ['llm', 'edge', 'user', 'score'] as const
export type GraphName = (typeof GRAPHS)[number]

/** Letters of the axes; those of `Dims` have a fixed size, those of `FREE` any. */
export type Axis = keyof Dims | Free | '1' | '2'
const FREE = ['B', 'M', 'N', 'U', 'A'] as const
type Free = (typeof FREE)[number]
const isFree = (axis: Axis): axis is Free => (FREE as readonly string[]).includes(axis)
type Signature = Readonly<Record<string, readonly Axis[]>>

/**
 * The inputs that the gateway can feed each graph and the outputs that it reads. A graph may take fewer inputs and give
 * more outputs, so that artifacts from before an input, and from after it, are served alike. float32, but for `kind`,
 * which is int64.
 */
export const SIGNATURES: Readonly<Record<GraphName, { inputs: Signature; outputs: Signature }>> = {
  llm: {
    inputs: {
      card: ['M', 'F'],
      text: ['M', 'E'],
      provider_code: ['M', 'P'],
      name_code: ['M', 'C'],
      price: ['M', '2'],
      evidence: ['M', 'V'],
    },
    outputs: { z: ['M', 'Z'] },
  },
  edge: {
    inputs: {
      reading: ['N', 'Q'],
      query: ['N', 'E'],
      z: ['N', 'Z'],
      reward: ['N'],
      kind: ['N'],
      weight: ['N'],
      prompt_tokens: ['N'],
      completion_tokens: ['N'],
      cost_usd: ['N'],
      share: ['U', 'A'],
    },
    outputs: { user_message: ['U', 'G'], llm_message: ['U', 'V'] },
  },
  user: {
    inputs: { sums: ['B', 'H'], tenant: ['B', 'Y'] },
    outputs: {
      state: ['B', 'S'],
      taste: ['B', 'D'],
      taste_covariance: ['B', 'D', 'D'],
      since: ['B', 'W'],
      people: ['B', 'J'],
      tenant_message: ['B', 'Y'],
    },
  },
  score: {
    inputs: {
      query: ['B', 'E'],
      prompt_tokens: ['B'],
      state: ['B', 'S'],
      z: ['M', 'Z'],
      cost_weight: ['B'],
      anchor: ['1', 'Z'],
    },
    outputs: {
      mean: ['B', 'M'],
      std: ['B', 'M'],
      parts: ['B', 'M', 'R'],
      quality: ['B', 'M'],
      completion_tokens: ['B', 'M'],
      apart: ['B', 'M'],
      reading: ['B', 'Q'],
    },
  },
}

/** Outputs that older artifacts lack. */
export const OPTIONAL_OUTPUTS: ReadonlySet<string> = new Set([
  'apart',
  'reading',
  'taste',
  'taste_covariance',
  'since',
  'people',
  'tenant_message',
])

/** Size of an axis, or null where it is free. */
export const sizeOf = (axis: Axis, dims: Dims): number | null =>
  axis === '1' ? 1 : axis === '2' ? 2 : isFree(axis) ? null : dims[axis]
