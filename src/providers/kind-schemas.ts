import { z } from 'zod'
import type { CandidateConfig } from '../candidates/schema.ts'
import { anthropicKind } from './kinds/anthropic/schema.ts'
import { openaiCompatibleKind } from './kinds/openai-compatible/schema.ts'
import { sandboxKind } from './kinds/sandbox/schema.ts'

/** A kind of provider as far as its configuration goes; `kinds.ts` opens it. */
interface ProviderKind<Entry> {
  /** Its entry under `providers`, told apart by `kind`. */
  schema: z.ZodType<Entry>
  /** Candidates that it brings along, without a line in the configuration. */
  builtIn?(provider: string): CandidateConfig[]
  /** Whether candidates are made of the models that it lists. */
  discovers?(entry: Entry): boolean
  /** Whether its models cost nothing where no price is given. */
  isLocal?(entry: Entry): boolean
  /** Whether it serves only while no other candidate can. */
  isStandIn?(entry: Entry): boolean
  /** It has what is not routed, too: embeddings, and whatever is passed through. */
  hasMore?: boolean
  /** Answers are made up. */
  isDemo?: boolean
}

/** One line a kind. */
const KINDS = {
  'openai-compatible': openaiCompatibleKind,
  anthropic: anthropicKind,
  sandbox: sandboxKind,
}

type Schemas = { [K in keyof typeof KINDS]: (typeof KINDS)[K]['schema'] }[keyof typeof KINDS]

export const providerSchema = z.discriminatedUnion(
  'kind',
  Object.values(KINDS).map(({ schema }) => schema) as unknown as [Schemas, ...Schemas[]],
)

export type ProviderConfig = z.output<typeof providerSchema>
export type Kind = ProviderConfig['kind']

export const kindOf = (entry: ProviderConfig): ProviderKind<ProviderConfig> =>
  KINDS[entry.kind] as unknown as ProviderKind<ProviderConfig>

type Providers = Readonly<Record<string, ProviderConfig>>

/** Candidates that the configured providers bring along. */
export const builtInCandidates = (providers: Providers): CandidateConfig[] =>
  Object.entries(providers).flatMap(([name, entry]) => kindOf(entry).builtIn?.(name) ?? [])

/** Whether the provider's candidates are what it lists, if it is there at all. */
export const isDiscovering = (entry: ProviderConfig | undefined): boolean =>
  entry !== undefined && (kindOf(entry).discovers?.(entry) ?? false)
