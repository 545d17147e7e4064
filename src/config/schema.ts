import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { CAPABILITIES } from '../candidates/candidate.ts'

/** The artifact that comes with the gateway, wherever it is installed. */
const BUNDLED_ARTIFACT = fileURLToPath(new URL('../../router-model/artifacts/current', import.meta.url))

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/, 'letters, digits and . _ : / @ -, at most 128')
const ms = z.number().int().positive()
const dollars = z.number().nonnegative()
const share = z.number().min(0).max(1)

const serverSchema = z.strictObject({
  host: z.string().default('127.0.0.1'),
  port: z.coerce.number().int().min(0).max(65535).default(8787),
  /** Processes that share the port (node:cluster); 1 = none but this one. */
  workers: z.coerce.number().int().min(1).max(128).default(1),
  max_body_bytes: z
    .number()
    .int()
    .positive()
    .default(20 * 1024 * 1024),
  max_connections: z.number().int().positive().default(20_000),
  headers_timeout_ms: ms.default(10_000),
  body_timeout_ms: ms.default(30_000),
  /** A client that reads nothing for so long is let go. */
  write_idle_timeout_ms: ms.default(60_000),
  /** After SIGTERM: how long new requests are still taken while `/readyz` says no, so that balancers look elsewhere. */
  drain_delay_ms: z.number().int().nonnegative().default(1_000),
  /** And then: how long streams may go on. */
  drain_timeout_ms: ms.default(30_000),
  /** Requests in work at once, over all tenants; more wait in a queue of `max_queue`, and then are shed with 503. */
  max_concurrent: z.number().int().positive().default(2_000),
  max_queue: z.number().int().nonnegative().default(500),
})

const redisTlsSchema = z.strictObject({
  ca_file: z.string().optional(),
  cert_file: z.string().optional(),
  key_file: z.string().optional(),
  reject_unauthorized: z.boolean().default(true),
})

const redisSchema = z.strictObject({
  kind: z.literal('redis'),
  /** `redis://` or `rediss://`, for a single server. */
  url: z.string().optional(),
  /** Nodes of a Redis Cluster, `host:port`. */
  cluster: z.array(z.string()).min(1).optional(),
  sentinel: z
    .strictObject({ name: z.string(), nodes: z.array(z.string()).min(1), password: z.string().optional() })
    .optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  tls: redisTlsSchema.optional(),
  /** Deadline of one command. */
  command_timeout_ms: ms.default(250),
  /** Log rows older than this are dropped. */
  retention_days: z.number().positive().default(90),
})

const sqliteSchema = z.strictObject({
  kind: z.literal('sqlite'),
  path: z.string().default('data/persona-router.db'),
  retention_days: z.number().positive().default(90),
})

const storeSchema = z
  .discriminatedUnion('kind', [sqliteSchema, redisSchema])
  .default({ kind: 'sqlite', path: 'data/persona-router.db', retention_days: 90 })

const spoolSchema = z.strictObject({
  /** Records wait here while the store is away. */
  path: z.string().default('data/spool'),
  max_bytes: z
    .number()
    .int()
    .positive()
    .default(256 * 1024 * 1024),
  /** Records reach the store (or the spool) within this time of the answer's end. */
  flush_ms: ms.default(50),
})

const embedderSchema = z.union([
  z.literal('static'),
  z.strictObject({ kind: z.literal('minilm'), path: z.string() }),
  z.strictObject({
    kind: z.literal('openai'),
    base_url: z.string(),
    api_key: z.string().optional(),
    model: z.string(),
    dim: z.number().int().positive(),
    timeout_ms: ms.default(1_000),
  }),
])

const implicitSchema = z.strictObject({
  /** The same question again in the same conversation: against the first answer. */
  regeneration: z
    .strictObject({
      enabled: z.boolean().default(true),
      value: z.number().min(-1).max(1).default(-0.6),
      weight: share.default(0.5),
    })
    .prefault({}),
  edit: z
    .strictObject({
      enabled: z.boolean().default(true),
      value: z.number().min(-1).max(1).default(-0.2),
      weight: share.default(0.2),
    })
    .prefault({}),
  continuation: z
    .strictObject({
      enabled: z.boolean().default(true),
      value: z.number().min(-1).max(1).default(0.2),
      weight: share.default(0.1),
    })
    .prefault({}),
  /** The client left before the answer ended. */
  abort: z
    .strictObject({
      enabled: z.boolean().default(false),
      value: z.number().min(-1).max(1).default(-0.3),
      weight: share.default(0.1),
    })
    .prefault({}),
})

const judgeSchema = z.strictObject({
  /** Name of the candidate that judges. */
  candidate: z.string(),
  /** Share of answers that are judged. */
  rate: share.default(0.02),
  /** Factor on the precision of a judge's word. */
  weight: share.default(0.5),
  /** No more is spent within 24 hours. */
  usd_per_day: z.number().positive().default(1),
  /** Judged at once; what comes in meanwhile is not judged. */
  concurrent: z.number().int().positive().default(2),
  /** Characters of question and answer that the judge reads, each. */
  max_chars: z.number().int().positive().default(8_000),
})

const canarySchema = z.strictObject({ artifact: z.string(), share })

const routerSchema = z.strictObject({
  /** Directory of an artifact, or a link to one; the one that comes with the gateway where left out. */
  artifact: z.string().default(BUNDLED_ARTIFACT),
  /** Refuse to start without a good artifact; otherwise the fallback router chooses and `/readyz` says degraded. */
  required: z.boolean().default(false),
  /** Load a new artifact when the directory, or the link to it, changes. */
  watch: z.boolean().default(true),
  device: z.enum(['auto', 'cpu', 'cuda']).default('auto'),
  embedder: embedderSchema.default('static'),
  explore: z.boolean().default(true),
  /**
   * Leave everybody's favourite only for a candidate that is better by so many deviations of the difference between
   * the two, as far as it comes from what is not known of the user. 0 = whoever has the highest mean.
   */
  caution: z.number().nonnegative().max(4).default(0.15),
  /**
   * Inverse gap weighting with gamma = (base + per_reward x rewards of the user) x candidates; more = greedier. The
   * expected loss by exploring is below 1 / (base + per_reward x rewards) a request, on the scale of rewards (-1 to 1).
   * Defaults: see test/bench/explore.ts.
   */
  gamma: z
    .strictObject({ base: z.number().positive().default(80), per_reward: z.number().nonnegative().default(8) })
    .prefault({}),
  /**
   * For tests, and to play something again: the same question of the same user, with as many rewards given, explores
   * alike, also in another process (with the same identity secret). Chance where left out.
   */
  exploration_seed: z.number().int().optional(),
  /** Embedding and scoring together; over it the fallback router chooses. */
  deadline_ms: ms.default(150),
  fallback: z.enum(['cheapest', 'first', 'best_quality']).default('first'),
  /** Leave a conversation's model only if the predicted gain exceeds the price of a cold prompt cache times this. */
  sticky: z
    .strictObject({
      enabled: z.boolean().default(true),
      reward_per_usd: z.number().nonnegative().default(20),
      min_gain: z.number().nonnegative().default(0.02),
    })
    .prefault({}),
  implicit_rewards: implicitSchema.prefault({}),
  /** Directory of an artifact that scores beside the live one and is recorded, and never chooses. */
  shadow: z.string().optional(),
  /** Directory of an artifact that serves this share of users, told apart by a hash of their ids. */
  canary: canarySchema.optional(),
  /** Answers that a candidate is asked to grade, off the request's path. */
  judge: judgeSchema.optional(),
  /**
   * What users of a tenant say of a model tells something to its other users once so many have spoken; what one says
   * moves nobody else.
   */
  shared_after_users: z.number().int().min(1).max(16).default(5),
  /** Users' beliefs kept in memory, about 20 KB each. */
  user_cache: z.number().int().positive().default(10_000),
})

const baseProvider = { api_key: z.string().optional(), api_key_file: z.string().optional() }
const httpProvider = {
  ...baseProvider,
  /** Where left out (its variable is not set), the provider is off. */
  base_url: z.string().default(''),
  headers: z.record(z.string(), z.string()).default({}),
  /** A provider without a key is off, unless it needs none (a local server). */
  key_required: z.boolean().default(true),
  connect_timeout_ms: ms.default(3_000),
  max_connections: z.number().int().positive().default(256),
}

const providerSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('openai-compatible'),
    ...httpProvider,
    /** `bearer`: Authorization; `api-key`: Azure OpenAI. */
    auth: z.enum(['bearer', 'api-key', 'none']).default('bearer'),
    /** Added to every URL, e.g. Azure's `api-version`. */
    query: z.record(z.string(), z.string()).default({}),
    /** Azure: the path holds the deployment, `{model}` is replaced. */
    chat_path: z.string().default('/chat/completions'),
    /**
     * Ask for usage in streamed answers (`stream_options`); false for servers that refuse the field: it is then never
     * sent.
     */
    stream_usage: z.boolean().default(true),
    /** Request fields that this server refuses instead of ignoring: left out. */
    omit: z.array(z.string()).default([]),
    /** Request fields that this server calls otherwise, e.g. `{ max_completion_tokens: max_tokens }`. */
    rename: z.record(z.string(), z.string()).default({}),
    /** Make candidates of what `GET {base_url}/models` lists: for local servers. */
    discover: z.boolean().default(false),
  }),
  z.strictObject({
    kind: z.literal('anthropic'),
    ...httpProvider,
    base_url: z.string().default('https://api.anthropic.com/v1'),
    version: z.string().default('2023-06-01'),
    /** Used where a request sets no limit: the Messages API demands one. */
    default_max_tokens: z.number().int().positive().default(4096),
  }),
  z.strictObject({
    kind: z.literal('sandbox'),
    ...baseProvider,
    /** `auto`: only while no other provider can be used. */
    enabled: z.union([z.boolean(), z.literal('auto')]).default('auto'),
  }),
])

const candidateSchema = z.strictObject({
  name,
  provider: z.string(),
  /** What the provider calls it; the name where left out. */
  model: z.string().optional(),
  vendor: z.string().optional(),
  description: z.string().optional(),
  /** Dollars per million tokens; from the catalogue where left out. */
  price: z
    .strictObject({
      input: dollars,
      output: dollars,
      cached_input: dollars.optional(),
      cache_write: dollars.optional(),
    })
    .optional(),
  context_window: z.number().int().positive().optional(),
  max_output_tokens: z.number().int().positive().optional(),
  capabilities: z.array(z.enum(CAPABILITIES)).optional(),
  groups: z.array(z.string()).default(['default']),
  explore: z.boolean().default(true),
  size_b: z.number().positive().optional(),
  open_weights: z.boolean().optional(),
  /** It can think before it answers. */
  reasoning: z.boolean().optional(),
  /** Whether it does; from `defaults`, else as its maker has it. Anthropic's do only where a budget or effort says so. */
  thinking: z.boolean().optional(),
  effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']).optional(),
  /** Tokens of one reply to a short question, thoughts included, where somebody measured it. */
  verbosity: z.number().positive().optional(),
  /** Its name in config/abilities.json, where neither name nor model is one. */
  known_as: z.string().optional(),
  benchmarks: z.record(z.string(), z.number()).default({}),
  defaults: z.record(z.string(), z.unknown()).optional(),
})

const limitsSchema = z.strictObject({
  requests_per_minute: z.number().int().positive().optional(),
  tokens_per_minute: z.number().int().positive().optional(),
  concurrent: z.number().int().positive().optional(),
  usd_per_day: z.number().positive().optional(),
  usd_per_month: z.number().positive().optional(),
})

/**
 * Model names that clients send, and what they stand for: `auto`, `auto:<group>` or a candidate. A `*` stands for any
 * characters; the most specific pattern wins, and a candidate's own name wins over all.
 */
const aliasesSchema = z
  .record(z.string().regex(/^[\x21-\x7e]{1,128}$/, 'at most 128 visible characters'), z.string().min(1))
  .default({})

const tenantSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, 'lower-case letters, digits, _ and -, at most 64'),
  /** Groups or candidate names; default: the group `default`. */
  candidates: z.array(z.string()).min(1).default(['default']),
  /** Keys given here besides those in the store. */
  keys: z.array(z.string().min(16, 'a key has at least 16 characters')).default([]),
  /** Before those of all tenants. */
  aliases: aliasesSchema,
  limits: limitsSchema.prefault({}),
  user_limits: limitsSchema.prefault({}),
  key_limits: limitsSchema.prefault({}),
  /** When shedding: higher goes first. */
  priority: z.number().int().min(0).max(9).default(5),
  explore: z.boolean().default(true),
  /** Let the judge of `router.judge`, who need not be one of its candidates, read a sample of its answers. */
  judged: z.boolean().default(true),
  /** Keep user ids as they come instead of their HMAC. */
  plain_user_ids: z.boolean().default(false),
  /** Keep prompt text in the record, for so many days; off by default. */
  keep_text_days: z.number().positive().optional(),
  /** Let this tenant's log train models that serve other tenants, too. */
  share_training: z.boolean().default(false),
  /**
   * Directory of this tenant's own artifact, or a link to one. Where left out: `tenants/<name>/current` beside
   * `router.artifact`, where `retrain` puts it, as soon as there is one; else everybody's.
   */
  artifact: z.string().optional(),
  /**
   * As in `router`, for this tenant. Where any of the three is its own, `router.shadow` and `router.canary` are not for
   * it.
   */
  shadow: z.string().optional(),
  canary: canarySchema.optional(),
})

const timeoutsSchema = z.strictObject({
  /** Until the first event of an answer that says something. */
  first_byte_ms: ms.default(120_000),
  /**
   * Until the first byte of an answer that is not streamed, and between two: it comes only when all of it has been
   * thought out.
   */
  answer_ms: ms.default(300_000),
  /** Between two events that say something (comments do not count). */
  content_idle_ms: ms.default(60_000),
  /** The whole request, all tries together. */
  total_ms: ms.default(600_000),
})

const retriesSchema = z.strictObject({
  /** Tries over all candidates, the first included. */
  max_attempts: z.number().int().min(1).max(10).default(3),
  backoff_ms: z.number().nonnegative().default(100),
  /** A Retry-After up to this is waited for; longer means the next candidate. */
  max_retry_after_ms: z.number().nonnegative().default(2_000),
  /**
   * Where a candidate has not begun to answer after so long, the next is asked beside it, and the first answer is
   * taken. Costs tokens twice; off where left out.
   */
  hedge_after_ms: ms.optional(),
  /** Consecutive failures of one candidate that open its breaker, and how long it stays open. */
  breaker: z
    .strictObject({ failures: z.number().int().positive().default(5), open_ms: ms.default(15_000) })
    .prefault({}),
})

export const configSchema = z.strictObject({
  /** Other files whose providers and candidates are added, relative to this one. */
  include: z.array(z.string()).default([]),
  server: serverSchema.prefault({}),
  store: storeSchema,
  spool: spoolSchema.prefault({}),
  router: routerSchema.prefault({}),
  providers: z.record(z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/), providerSchema).default({}),
  candidates: z.array(candidateSchema).default([]),
  aliases: aliasesSchema,
  tenants: z
    .array(tenantSchema)
    .min(1)
    .default(() => [tenantSchema.parse({ name: 'default' })]),
  identity: z
    .strictObject({
      headers: z.array(z.string().toLowerCase()).default(['x-user-id', 'x-openwebui-user-id']),
      /**
       * Secret of the HMAC that user ids are kept as; made and kept in `data/` where left out. Replicas must share it.
       */
      secret: z.string().min(16).optional(),
    })
    .prefault({}),
  timeouts: timeoutsSchema.prefault({}),
  retries: retriesSchema.prefault({}),
  admin: z.strictObject({ key: z.string().min(16).optional() }).prefault({}),
  log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info') }).prefault({}),
  metrics: z.strictObject({ enabled: z.boolean().default(true) }).prefault({}),
})

export type Config = z.output<typeof configSchema>
export type CandidateConfig = z.output<typeof candidateSchema>
export type ProviderConfig = z.output<typeof providerSchema>
export type OpenAICompatibleConfig = Extract<ProviderConfig, { kind: 'openai-compatible' }>
export type AnthropicConfig = Extract<ProviderConfig, { kind: 'anthropic' }>
export type StoreConfig = Config['store']
export type SqliteConfig = Extract<StoreConfig, { kind: 'sqlite' }>
export type RedisConfig = Extract<StoreConfig, { kind: 'redis' }>
export type RouterConfig = Config['router']
export type EmbedderConfig = RouterConfig['embedder']
export type TenantConfig = Config['tenants'][number]
export type LimitsConfig = TenantConfig['limits']
export type TimeoutsConfig = Config['timeouts']
export type RetriesConfig = Config['retries']

/** JSON schema of the configuration file, for editors (draft 2020-12). */
export const configJsonSchema = () =>
  z.toJSONSchema(configSchema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      // Where this installation lies is nobody's default but its own.
      if (jsonSchema.default === BUNDLED_ARTIFACT) delete jsonSchema.default
    },
  })
