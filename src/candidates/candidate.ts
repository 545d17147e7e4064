import { type Dialect, hasWordFor, insteadOf } from './dialect.ts'

/** Abilities that a request may need and a candidate may lack. */
export const CAPABILITIES = ['tools', 'vision', 'audio', 'json_schema', 'logprobs'] as const
export type Capability = (typeof CAPABILITIES)[number]

/** Formats in which a provider accepts a candidate's requests; chat completions always, by conversion if need be. */
export const APIS = ['chat', 'responses', 'messages', 'completions', 'embeddings'] as const
export type Api = (typeof APIS)[number]

/** When a model came out: a month, or a day of it. */
export const DATE = /^20\d{2}-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?$/

/** Dollars per million tokens. */
export interface Price extends Rates {
  /** Of prompts of more than so many tokens, by how many: what is dearer then counts for all their tokens. */
  above?: readonly (Rates & { tokens: number })[]
}

export interface Rates {
  input: number
  output: number
  /** Reading a cached prompt prefix; `input` where absent. */
  cachedInput?: number
  /** Writing a prompt prefix to the provider's cache; `input` where absent. */
  cacheWrite?: number
}

/** A model that may answer, with everything that routing, accounting and its provider need. */
export interface Candidate {
  /** Name in requests, headers and records; unique. */
  name: string
  /** Names that it had before; none where left out. */
  formerly?: readonly string[]
  /** Key of `providers` in the config. */
  provider: string
  /** The provider's own name of the model. */
  model: string
  /** Maker of the model: "openai", "meta"; becomes the provider code of the router model. */
  vendor: string
  description: string
  price: Price
  /** Tokens; prompt and answer together. */
  contextWindow: number
  maxOutputTokens?: number
  capabilities: ReadonlySet<Capability>
  groups: readonly string[]
  /** Formats that its provider speaks itself; chat completions alone where left out. */
  apis?: ReadonlySet<Api>
  /** False keeps exploration away from it. */
  explore: boolean
  /** Billions of parameters. */
  sizeB?: number
  openWeights?: boolean
  /** Year in which it came out, with its fraction. */
  released?: number
  /** It can think before it answers. */
  reasoning?: boolean
  /** Whether it does, as this candidate asks for it; where left out, as its maker has it. */
  thinking?: boolean
  /** `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, as this candidate asks for it. */
  effort?: string
  /** Fitted to public figures, of its best setting; where left out, inferred from `benchmarks`. */
  ability?: { mean: number; sd: number; aspects: Readonly<Record<string, number>> }
  /** Measured tokens of a short reply, by effort. */
  verbosity?: Readonly<Record<string, number>>
  /** Public benchmark scores, 0..1 (`arena_elo`: Elo). */
  benchmarks: Readonly<Record<string, number>>
  /** How it differs from OpenAI's API; nothing is known where left out. */
  dialect?: Dialect
  /**
   * Extra top-level request fields that this candidate always sends, e.g. `{ reasoning_effort: "low" }`; a request's
   * own fields win.
   */
  defaults?: Readonly<Record<string, unknown>>
}

/**
 * Whether a chat completion goes to a candidate by the Responses API: some models refuse all but that, or refuse tools
 * without it.
 */
export function goesByResponses(
  { apis, dialect }: Pick<Candidate, 'apis' | 'dialect'>,
  { body, native }: { body: { tools?: readonly unknown[] | null }; native?: unknown },
): boolean {
  if (native !== undefined || !apis?.has('responses')) return false
  return !apis.has('chat') || (dialect?.responses === 'with_tools' && (body.tools?.length ?? 0) > 0)
}

/** How it differs from OpenAI's API in what a request asks of it. */
export function spokenBy(
  candidate: Pick<Candidate, 'apis' | 'dialect' | 'thinking' | 'defaults'>,
  request: {
    body: { tools?: readonly unknown[] | null; thinking?: unknown; reasoning_effort?: unknown }
    native?: unknown
  },
): Dialect | undefined {
  const { dialect } = candidate
  if (dialect?.overResponses && goesByResponses(candidate, request)) return dialect.overResponses
  return dialect?.withoutThinking && isQuiet(candidate, request.body) ? dialect.withoutThinking : dialect
}

/** It is told not to think: by the request, where it is heard, else by how the candidate is asked. */
function isQuiet(
  { dialect, thinking, defaults }: Pick<Candidate, 'dialect' | 'thinking' | 'defaults'>,
  body: { thinking?: unknown; reasoning_effort?: unknown },
): boolean {
  const told = dialect && insteadOf(dialect, 'reasoning_effort', body.reasoning_effort)
  const own = dialect?.fields.thinking === 'keep' ? typeOf(body.thinking ?? told?.thinking) : undefined
  const type = own ?? typeOf(defaults?.thinking)
  return type === undefined ? thinking === false : type === 'disabled'
}

/** Whether it is known how it is told not to think; others may refuse the words for it. */
export const takesNoEffort = ({ apis, dialect }: Pick<Candidate, 'apis' | 'dialect'>): boolean =>
  apis?.has('messages') === true || (dialect !== undefined && hasWordFor(dialect, 'reasoning_effort', 'none'))

const typeOf = (thinking: unknown) => (thinking as { type?: unknown } | null | undefined)?.type
