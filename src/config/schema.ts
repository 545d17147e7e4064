import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { dialectsSchema } from '../candidates/dialect.ts'
import { candidateSchema, embeddingModelSchema } from '../candidates/schema.ts'
import { telemetrySchema } from '../observability/telemetry/schema.ts'
import { webhookSchema } from '../observability/webhook.ts'
import { providerSchema } from '../providers/kind-schemas.ts'

/** The artifact that comes with the gateway, wherever it is installed. */
const BUNDLED_ARTIFACT = fileURLToPath(new URL('../../router-model/artifacts/current', import.meta.url))

/** Read once, when the process starts: a reload says so (`restart.ts`). */
const restart = { restart: true }

const ms = z.number().int().positive()
const share = z.number().min(0).max(1)

const serverSchema = z.strictObject({
  host: z.string().default('127.0.0.1').meta(restart),
  port: z.number().int().min(0).max(65535).default(8787).meta(restart),
  /** Serve HTTPS; PEM files, read again when they are replaced. Connections that are open go on. */
  tls: z.strictObject({ cert_file: z.string(), key_file: z.string() }).optional().meta(restart),
  /** Processes that share the port (node:cluster); 1 = none but this one. */
  workers: z.number().int().min(1).max(128).default(1).meta(restart),
  max_body_bytes: z
    .number()
    .int()
    .positive()
    .default(20 * 1024 * 1024),
  /** Of bodies that requests hold in memory, all requests together. */
  max_bytes_in_memory: z
    .number()
    .int()
    .positive()
    .default(512 * 1024 * 1024),
  /** The same, of one tenant; half of all where left out. */
  max_bytes_per_tenant: z.number().int().positive().optional(),
  max_connections: z.number().int().positive().default(20_000).meta(restart),
  headers_timeout_ms: ms.default(10_000).meta(restart),
  /** A request's body: between two pieces of it; and all of it, where it is slower than `body_min_bytes_per_s`. */
  body_timeout_ms: ms.default(30_000).meta(restart),
  body_min_bytes_per_s: z.number().int().positive().default(4_096).meta(restart),
  /** A client that reads nothing for this long is disconnected. */
  write_idle_timeout_ms: ms.default(60_000),
  /** After SIGTERM: how long requests are still accepted while `/readyz` fails, so that balancers move away. */
  drain_delay_ms: z.number().int().nonnegative().default(1_000),
  /** Then: how long running streams may continue. */
  drain_timeout_ms: ms.default(30_000),
  /** Concurrent requests over all tenants; more wait in a queue of `max_queue`, beyond that they get 503. */
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
  url_file: z.string().optional(),
  /** Nodes of a Redis Cluster, `host:port`. */
  cluster: z.array(z.string()).min(1).optional(),
  sentinel: z
    .strictObject({
      name: z.string(),
      nodes: z.array(z.string()).min(1),
      /** Of the Sentinels; the Redis servers have their own. */
      username: z.string().optional(),
      password: z.string().optional(),
      password_file: z.string().optional(),
      /** Whether the Sentinels speak TLS; as the Redis servers (`store.tls`) where left out. */
      tls: z.boolean().optional(),
    })
    .optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  password_file: z.string().optional(),
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
    api_key_file: z.string().optional(),
    model: z.string(),
    dim: z.number().int().positive(),
    timeout_ms: ms.default(1_000),
  }),
])

const implicitSchema = z.strictObject({
  /** The same question again in the same conversation counts against the first answer. */
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
  /** Limit of spending within 24 hours, in dollars. */
  usd_per_day: z.number().positive().default(1),
  /** Answers judged concurrently; answers that arrive meanwhile are not judged. */
  concurrent: z.number().int().positive().default(2),
  /** Characters of question and answer that the judge reads, each. */
  max_chars: z.number().int().positive().default(8_000),
})

const ghostSchema = z.strictObject({
  /** Name of the candidate that compares. */
  judge: z.string(),
  /** Who answers as well: a candidate, the tenant's `baseline`, or the `cheapest` that could have. */
  rival: z.string().default('cheapest'),
  /** Share of answers that are compared. */
  rate: share.default(0.01),
  /** Factor on the precision of a comparison. */
  weight: share.default(0.5),
  /** Limit of spending within 24 hours, in dollars: answers and comparisons. */
  usd_per_day: z.number().positive().default(1),
  concurrent: z.number().int().positive().default(2),
  /** Characters of the question and of each answer that the judge reads. */
  max_chars: z.number().int().positive().default(8_000),
})

const canarySchema = z.strictObject({ artifact: z.string(), share })

/**
 * How far the router is let, where there is a baseline. `observe`: the baseline answers, the router scores and is
 * recorded. `assist`: the router answers where its gain over the baseline is certified, and a share of the others.
 * `route`: the router answers. In each, whom it is known to harm gets the baseline.
 */
export const modeSchema = z.enum(['observe', 'assist', 'route'])

const tasteSchema = z.enum(['quality', 'balanced', 'frugal'])

const risk = z.number().gt(0).max(0.5)

const routerSchema = z.strictObject({
  /** Directory of an artifact, or a link to one; default: the artifact that comes with the gateway. */
  artifact: z.string().default(BUNDLED_ARTIFACT),
  /**
   * PEM of Ed25519: artifacts must be signed by its private key (`persona-router artifact sign`), those of tenants,
   * shadows and canaries, too. Anybody's are taken where left out.
   */
  artifact_public_key: z.string().optional().meta(restart),
  artifact_public_key_file: z.string().optional(),
  /** Refuse to start without a good artifact; otherwise the fallback router chooses and `/readyz` says degraded. */
  required: z.boolean().default(false),
  /** Load a new artifact when the directory, or the link to it, changes. */
  watch: z.boolean().default(true).meta(restart),
  device: z.enum(['auto', 'cpu', 'cuda']).default('auto').meta(restart),
  embedder: embedderSchema.default('static').meta(restart),
  explore: z.boolean().default(true),
  /**
   * Leave the baseline (without one: everybody's favourite) only for a candidate that is better by so many deviations
   * of the difference between the two, as far as it comes from what is not known of the user. 0 = whoever has the
   * highest mean.
   */
  caution: z.number().nonnegative().max(4).default(0.15),
  /**
   * Whom users are like before they say anything: those who value quality over cost by a deviation more than people
   * do on average, or less (`frugal`). Ratings outweigh it; a stated or requested cost weight replaces it.
   */
  taste: tasteSchema.default('balanced'),
  /**
   * Be as cautious with each user as it takes for them to gain over the baseline (without one: everybody's favourite)
   * with a probability of 1 less this; `caution` is the least. Left out: `caution` for all.
   */
  risk: risk.optional(),
  /**
   * Inverse gap weighting with gamma = (base + per_reward x rewards of the user) x candidates; more = greedier. The
   * expected loss by exploring is below 1 / (base + per_reward x rewards) a request, on the scale of rewards (-1 to 1).
   * Defaults: see test/bench/explore.ts.
   */
  gamma: z
    .strictObject({ base: z.number().positive().default(80), per_reward: z.number().nonnegative().default(8) })
    .prefault({}),
  /**
   * Reproducible exploration, for tests and replays: the same question of the same user with the same number of
   * rewards explores alike, in any process with the same identity secret. Random where left out.
   */
  exploration_seed: z.number().int().optional(),
  /** Limit of embedding and scoring together; beyond it the fallback router chooses. */
  deadline_ms: ms.default(150),
  fallback: z.enum(['cheapest', 'first', 'best_quality']).default('first').meta(restart),
  /** Leave a conversation's model only if the predicted gain exceeds the price of a cold prompt cache times this. */
  sticky: z
    .strictObject({
      enabled: z.boolean().default(true),
      reward_per_usd: z.number().nonnegative().default(20),
      min_gain: z.number().nonnegative().default(0.02),
    })
    .prefault({}),
  implicit_rewards: implicitSchema.prefault({}),
  /** Directory of an artifact that scores beside the live one: recorded, never used to choose. */
  shadow: z.string().optional(),
  /** Directory of an artifact that serves this share of users, selected by a hash of their ids. */
  canary: canarySchema.optional(),
  /** Name of the candidate that would answer without a router: what the router is compared with. */
  baseline: z.string().optional(),
  mode: modeSchema.default('route'),
  /** Tell clients what an answer saved against the baseline (`x-router-saved-usd`), where it is not streamed. */
  tell_saved: z.boolean().default(false),
  /** Share of requests in which the router chooses in `assist`, as long as no gain is certified. */
  trial_share: share.default(0.2),
  /** Share of users, told apart by a hash of their ids, who always get the baseline: what the gain is read from. */
  holdout: share.default(0),
  /** Answers that a candidate is asked to grade, off the request's path. */
  judge: judgeSchema.optional().meta(restart),
  /** Let a second candidate answer a sample, after the client has its answer, and a judge compare the two. */
  ghost: ghostSchema.optional().meta(restart),
  /**
   * Ratings of a model count for the tenant's other users once this many voices have rated it; ratings of fewer affect
   * those who gave them alone. A voice is a user whom somebody vouches for, or a key: see `shared_evidence`.
   */
  shared_after_users: z.number().int().min(1).max(16).default(5).meta(restart),
  /** What users say of a model counts for others of their tenant as far as their names are not for free. */
  shared_evidence: z
    .strictObject({
      /** A user counts once they have spoken of so many answers, in words or by what they did next … */
      min_answers: z.number().int().min(1).max(100).default(3),
      /** … and so long after the first. */
      min_age_hours: z.number().nonnegative().default(24),
      /** All users of a key that vouches for none count as this many users at most, with as many ratings. */
      key_weight: z.number().min(1).default(8),
      /** What was said counts half after this time. */
      half_life_days: z.number().positive().default(90),
    })
    .prefault({})
    .meta(restart),
  /** Users' beliefs kept in memory, about 20 KB each. */
  user_cache: z.number().int().positive().default(10_000).meta(restart),
})

const limitsSchema = z.strictObject({
  requests_per_minute: z.number().int().positive().optional(),
  /** Feedback, profiles, lists and all else that is no answer: counted apart; `requests_per_minute` where left out. */
  other_requests_per_minute: z.number().int().positive().optional(),
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

const keeping = {
  /**
   * Keep requests and answers of `POST /v1/responses`, so that the next request can refer to them; `off`: nothing
   * is kept, and the answers say so. A request may ask not to be kept (`store: false`).
   */
  store: z.enum(['on', 'off']),
  /** Days that a response is kept after the last reference to it. */
  ttl_days: z.number().positive(),
  /** Compressed bytes kept of one tenant; beyond it the least recently used responses go. */
  max_bytes: z.number().int().positive(),
}

const responsesSchema = z.strictObject({
  store: keeping.store.default('on'),
  ttl_days: keeping.ttl_days.default(30),
  max_bytes: keeping.max_bytes.default(1024 * 1024 * 1024),
})

const tenantSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, 'lower-case letters, digits, _ and -, at most 64'),
  /** Groups or candidate names; default: the group `default`. */
  candidates: z.array(z.string()).min(1).default(['default']),
  /** Keys given here besides those in the store. */
  keys: z.array(z.string().min(16, 'a key has at least 16 characters')).default([]),
  /** A file with more of them, one a line. */
  keys_file: z.string().optional(),
  /** Take precedence over the aliases of all tenants. */
  aliases: aliasesSchema,
  limits: limitsSchema.prefault({}),
  user_limits: limitsSchema.prefault({}),
  key_limits: limitsSchema.prefault({}),
  /** Higher priorities are served first under overload. */
  priority: z.number().int().min(0).max(9).default(5),
  explore: z.boolean().default(true),
  /** As in `router`, for this tenant. */
  taste: tasteSchema.optional(),
  /** Let the judge of `router.judge`, who need not be one of its candidates, read a sample of its answers. */
  judged: z.boolean().default(true),
  /**
   * Whoever holds this tenant's keys signs its users in and sends their true ids: each is a voice of their own
   * (`router.shared_evidence`). Otherwise all users of one key are one voice, for whoever has it can make up ids.
   */
  vouched_users: z.boolean().default(false),
  /** Store user ids in plain text instead of as an HMAC. */
  plain_user_ids: z.boolean().default(false),
  /** Days to keep prompt text in the record; off by default. */
  keep_text_days: z.number().positive().optional(),
  /**
   * What is kept of a question for learning: what the artifact read in it (`readings`), or its vector, too (`vectors`),
   * so that artifacts that read otherwise can learn from it. A vector gives the words back: it is sealed under
   * `privacy.secret`, which must be there.
   */
  training: z.enum(['readings', 'vectors']).default('readings'),
  /** Keep the comment of a feedback, in clear, as long as its row. */
  keep_comments: z.boolean().default(false),
  /** As in `privacy`, for this tenant. */
  user_retention_days: z.number().positive().optional(),
  /** As in `responses`, for this tenant. */
  responses: z.strictObject(keeping).partial().default({}),
  /** Let this tenant's log train models that serve other tenants, too. */
  share_training: z.boolean().default(false),
  /**
   * Directory of this tenant's own artifact, or a link to one. Where left out: `tenants/<name>/current` beside
   * `router.artifact`, where `retrain` puts it, as soon as there is one; else the shared one.
   */
  artifact: z.string().optional(),
  /**
   * As in `router`, for this tenant. With any of the three set, `router.shadow` and `router.canary` do not apply to it.
   */
  shadow: z.string().optional(),
  canary: canarySchema.optional(),
  /** As in `router`, for this tenant. */
  baseline: z.string().optional(),
  mode: modeSchema.optional(),
  holdout: share.optional(),
  /** As in `router`, for this tenant; null: none, whatever `router.risk` says. */
  risk: risk.nullish(),
  /** Ids of users who are never held out. */
  never_held_out: z.array(z.string()).default([]),
})

const timeoutsSchema = z.strictObject({
  /** Until the first event of an answer that says something; comments of the provider extend it up to `comments_ms`. */
  first_byte_ms: ms.default(120_000),
  /**
   * A streaming client gets headers and comments after so long, though nothing has been said yet: from then on no other
   * candidate can take over. Not while `hedge_after_ms` is set.
   */
  quiet_ms: ms.default(5_000),
  /** How long comments alone keep a stream alive: since its last event, or since it began. */
  comments_ms: ms.default(600_000),
  /**
   * Until the first byte of an answer that is not streamed, and between two: it comes only when all of it has been
   * thought out.
   */
  answer_ms: ms.default(300_000),
  /** Between two events that say something; comments extend it up to `comments_ms`. */
  content_idle_ms: ms.default(60_000),
  /**
   * How long a stream may stay open once nothing of its answer is missing: some servers never say goodbye. Counts that
   * come later are not billed by, but estimated.
   */
  ending_ms: ms.default(5_000),
  /** The whole request, with all tries. */
  total_ms: ms.default(600_000),
})

const retriesSchema = z.strictObject({
  /** Tries over all candidates that may fail, the first included. */
  max_attempts: z.number().int().min(1).max(10).default(3),
  /** Candidates that may refuse a request that the router chose them for, on top of those tries. */
  max_refusals: z.number().int().min(1).max(100).default(24),
  backoff_ms: z.number().nonnegative().default(100),
  /** A Retry-After up to this is waited for; longer means the next candidate. */
  max_retry_after_ms: z.number().nonnegative().default(2_000),
  /**
   * A candidate that has not begun to answer by then is hedged: the next one is asked beside it, and the first answer
   * wins. Costs tokens twice; off by default.
   */
  hedge_after_ms: ms.optional(),
  /** Consecutive failures of a deployment that open its breaker, and how long the breaker stays open. */
  breaker: z
    .strictObject({ failures: z.number().int().positive().default(5), open_ms: ms.default(15_000) })
    .prefault({})
    .meta(restart),
})

const passthroughTarget = z.strictObject({
  provider: z.string(),
  /** Bodies are sent on as they come, so that none is held in memory. Default: OpenAI's limit of a file. */
  max_body_bytes: z
    .number()
    .int()
    .positive()
    .default(512 * 1024 * 1024),
  /**
   * Dollars: a request, and a million tokens where the answer tells its usage. Where left out, tokens cost what the
   * candidate of that model or the catalogue says. `most`: what one request may come to, at most: reserved of a budget,
   * and booked where nobody is told how it ended.
   */
  price: z
    .strictObject({
      request: z.number().nonnegative().default(0),
      most: z.number().positive().optional(),
      input: z.number().nonnegative().default(0),
      output: z.number().nonnegative().default(0),
    })
    .optional(),
})

/** A provider's name alone is short for its object. */
const passthroughSchema = z.union([
  z.string().transform((provider) => passthroughTarget.parse({ provider })),
  passthroughTarget,
])

const corsSchema = z.strictObject({
  /**
   * Origins whose pages may call `/v1` from a browser, as browsers send them (`https://chat.example.com`), or `*` for
   * all; none where empty. Cookies are never taken, so that a page needs a key of its own.
   */
  origins: z
    .array(z.string().regex(/^(\*|[a-z][a-z0-9+.-]*:\/\/[^/\s]+)$/, "an origin, such as https://example.com, or '*'"))
    .default([]),
  /** How long a browser may keep the answer to a preflight. */
  max_age_s: z.number().int().nonnegative().default(600),
})

const userTokenSchema = z
  .strictObject({
    /** Header with a signed token that names the user; it comes before all other sources. */
    header: z.string().toLowerCase().default('x-openwebui-user-jwt'),
    /** Shared secret of an HMAC (HS256, HS384, HS512). */
    secret: z.string().min(16).optional(),
    secret_file: z.string().optional(),
    /** Or where the issuer publishes its keys (RFC 7517). */
    jwks_url: z.url({ protocol: /^https?$/ }).optional(),
    claim: z.string().default('sub'),
    issuer: z.string().optional(),
    audience: z.string().optional(),
    /** Refuse requests without a token: any other source of a user's name could be made up. */
    required: z.boolean().default(false),
  })
  .refine(
    ({ secret, jwks_url }) => (secret === undefined) !== (jwks_url === undefined),
    'secret or jwks_url, one of them',
  )

export const configSchema = z.strictObject({
  /** Other files whose providers and candidates are added, relative to this one. */
  include: z.array(z.string()).default([]),
  server: serverSchema.prefault({}),
  store: storeSchema.meta(restart),
  spool: spoolSchema.prefault({}).meta(restart),
  router: routerSchema.prefault({}),
  /** How providers and families of models differ from OpenAI's API: by name, see `providers.*.dialect`. */
  dialects: dialectsSchema.default({}),
  providers: z.record(z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/), providerSchema).default({}),
  candidates: z.array(candidateSchema).default([]),
  embeddings: z.array(embeddingModelSchema).default([]),
  /** Prices, windows and abilities of public models. */
  catalogue: z
    .strictObject({
      /** Where `persona-router catalogue update` puts a newer one. */
      file: z.string().default('data/catalogue.json'),
      /** Where it comes from, in the format of models.dev; where left out, what the package `tokenlens` asks. */
      source: z.url({ protocol: /^https?$/ }).optional(),
    })
    .prefault({}),
  aliases: aliasesSchema,
  tenants: z
    .array(tenantSchema)
    .min(1)
    .default(() => [tenantSchema.parse({ name: 'default' })]),
  identity: z
    .strictObject({
      headers: z.array(z.string().toLowerCase()).default(['x-user-id', 'x-openwebui-user-id']),
      /**
       * Where a user's name may come from. A key that is bound to a user always means that one. `any`: a signed token,
       * then the first of `headers` that is there, then the body; or one of these alone, the others not looked at:
       * `token`, `header` (with one entry in `headers`), `body`; `key`: none of them.
       */
      from: z.enum(['any', 'token', 'header', 'body', 'key']).default('any'),
      /** Headers that name a conversation, as clients send them; the first that is there counts. */
      conversation_headers: z
        .array(z.string().toLowerCase())
        .default([
          'x-conversation-id',
          'x-openwebui-chat-id',
          'x-session-id',
          'session-id',
          'x-claude-code-session-id',
        ]),
      /** After them, take the body's `prompt_cache_key` for a conversation's name, where it looks like an id. */
      prompt_cache_key: z.boolean().default(true),
      /** Headers that name a message, by which feedback may name its answer later (`message_id`). */
      message_headers: z.array(z.string().toLowerCase()).default(['x-openwebui-message-id']),
      jwt: userTokenSchema.optional(),
      /**
       * Secret of the HMAC under which user ids are stored; generated into `data/` where left out. Replicas share it.
       */
      secret: z.string().min(16).optional().meta(restart),
      secret_file: z.string().optional(),
      /** Secrets that were in use before: users known under them are found, and kept under the new one from then on. */
      previous_secrets: z.array(z.string().min(16)).default([]).meta(restart),
      /** A file that holds one a line. */
      previous_secrets_file: z.string().optional(),
    })
    .refine(({ from, jwt }) => from !== 'token' || jwt !== undefined, "from: 'token' needs identity.jwt")
    .refine(({ from, headers }) => from !== 'header' || headers.length === 1, "from: 'header' needs one of headers")
    .prefault({}),
  privacy: z
    .strictObject({
      /**
       * Secret under which what is kept of prompts is sealed; default: `identity.secret`, where that is configured. A
       * secret that lies in the store would lock nothing.
       */
      secret: z.string().min(16).optional().meta(restart),
      secret_file: z.string().optional(),
      /** Secrets that were in use before: what was sealed under them is still opened. */
      previous_secrets: z.array(z.string().min(16)).default([]).meta(restart),
      /** A file that holds one a line. */
      previous_secrets_file: z.string().optional(),
      /**
       * Days that what was learned of a user, and what is stated of them, is kept after their last request. The log has
       * `store.retention_days`.
       */
      user_retention_days: z.number().positive().default(365),
    })
    .prefault({}),
  feedback: z
    .strictObject({
      /**
       * Where users reach the gateway, such as `https://gateway.example.com`: each answer then has a header
       * `x-router-feedback-url`, a link with which whoever has it may rate that answer; none where left out.
       */
      link_base_url: z.url({ protocol: /^https?$/ }).optional(),
      link_ttl_days: z.number().positive().max(365).default(7),
    })
    .prefault({}),
  responses: responsesSchema.prefault({}),
  idempotency: z
    .strictObject({
      /**
       * A request with an `Idempotency-Key` asks for one answer at most. Where the store can't tell whether there was
       * one: `refuse` it with 503 and Retry-After, or `forward` it, and perhaps pay twice.
       */
      when_store_is_away: z.enum(['refuse', 'forward']).default('refuse'),
      /** Bytes kept of one tenant's answers, to be given again for a day; beyond, the oldest go. */
      max_bytes: z
        .number()
        .int()
        .positive()
        .default(64 * 1024 * 1024),
    })
    .prefault({}),
  /**
   * Paths that go to a provider as they are, unrouted: prefix -> provider. With a key of ours, under the limits of
   * requests, counted and recorded; none where left out.
   */
  passthrough: z
    .record(z.string().regex(/^\/v1\/([a-z0-9_-]+\/)+$/, "a path from '/v1/' on that ends in '/'"), passthroughSchema)
    .default({}),
  cors: corsSchema.prefault({}),
  limits: z
    .strictObject({
      /**
       * While the store can't be asked: `local`, each process counts on from what it knows, and grants its share of
       * what was left; `refuse`, 503 to requests that are limited; `open`, no limit holds. What was used is counted
       * later.
       */
      when_store_is_away: z.enum(['local', 'refuse', 'open']).default('local'),
      /**
       * Seconds that a key which was good is believed while the store can't be asked: so long a process that is cut off
       * may not hear of a revocation. 0: not at all, such keys get 503 then. Keys of the configuration need no store.
       */
      believe_keys_s: z.number().min(0).max(86_400).default(900),
      /**
       * Users of one key, whom nobody vouches for, that a process begins to keep a belief of within a minute: whoever
       * comes beyond it is served as a new user, and nothing is kept of their taste yet.
       */
      new_users_per_minute: z.number().int().positive().default(120).meta(restart),
    })
    .prefault({}),
  timeouts: timeoutsSchema.prefault({}),
  retries: retriesSchema.prefault({}),
  admin: z
    .strictObject({
      key: z.string().min(16).optional(),
      /** A file that holds the key, read again when it is replaced; so are the other `_file` fields. */
      key_file: z.string().optional(),
    })
    .prefault({}),
  log: z
    .strictObject({ level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info').meta(restart) })
    .prefault({}),
  metrics: z.strictObject({ enabled: z.boolean().default(true) }).prefault({}),
  console: z
    .strictObject({
      /** The web console at `/console`; it needs `admin.key`. */
      enabled: z.boolean().default(false),
      /** Lets people look and change nothing. */
      read_key: z.string().min(16).optional(),
      read_key_file: z.string().optional(),
      /** After this long people log in again. */
      session_minutes: z.number().int().positive().max(43_200).default(480),
    })
    .prefault({}),
  webhook: webhookSchema.optional(),
  telemetry: telemetrySchema.prefault({}).meta(restart),
})

export type Config = z.output<typeof configSchema>
export type StoreConfig = Config['store']
export type SqliteConfig = Extract<StoreConfig, { kind: 'sqlite' }>
export type RedisConfig = Extract<StoreConfig, { kind: 'redis' }>
export type RouterConfig = Config['router']
export type EmbedderConfig = RouterConfig['embedder']
export type TenantConfig = Config['tenants'][number]
export type ResponsesConfig = Config['responses']
export type PassthroughTarget = z.output<typeof passthroughTarget>
export type LimitsConfig = TenantConfig['limits']
export type TimeoutsConfig = Config['timeouts']
export type RetriesConfig = Config['retries']

/** JSON schema of the configuration file, for editors (draft 2020-12). */
export const configJsonSchema = () =>
  z.toJSONSchema(configSchema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      // The path of this installation is no default of others.
      if (jsonSchema.default === BUNDLED_ARTIFACT) delete jsonSchema.default
      if (jsonSchema.restart) {
        delete jsonSchema.restart
        jsonSchema.$comment = 'Read once, when the process starts.'
      }
    },
  })
