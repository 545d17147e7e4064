import { join } from 'node:path'
import { tinyEmbed } from '../routing/support.ts'
import { TEST_KEY, type TestConfig } from '../support/gateway.ts'
import { completionBody, replyStream, type Script, startUpstream, streamEvents } from '../support/upstream.ts'

/** Keys of the tenants as configured; others are made as a gateway runs. */
export const OPEN_KEY = 'pr-open-key-0123456789abcdef'

/** An artifact of a few KB: its scores are the same in every version that takes its schema. */
export const ARTIFACT = join(import.meta.dirname, '../fixtures/upgrade/artifact')

/** In a question: the answer is dear. */
export const LONG = 'at length'

/**
 * The provider of all candidates. It also embeds, as the artifact wants it, and `dear` takes no `logit_bias`.
 *
 * @param first number of its first answer: ids of answers are not given twice
 */
export function startProvider(first = 1) {
  let answers = first - 1
  const script: Script = (exchange) => {
    const { model, input, messages, stream, ...rest } = exchange.json
    if (exchange.request.path.endsWith('/embeddings')) {
      const embedding = [...tinyEmbed(String(input))]
      return exchange.reply(200, { object: 'list', data: [{ object: 'embedding', index: 0, embedding }], model })
    }
    if (model === 'dear' && 'logit_bias' in rest) {
      const message = "Unsupported parameter: 'logit_bias' is not supported with this model."
      const param = 'logit_bias'
      return exchange.reply(400, {
        error: { message, type: 'invalid_request_error', param, code: 'unsupported_parameter' },
      })
    }
    const id = `chatcmpl-${++answers}`
    if (stream) return replyStream(streamEvents().map((event) => ({ ...event, id })))(exchange)
    const completion_tokens = JSON.stringify(messages).includes(LONG) ? 40_000 : 30
    const usage = { prompt_tokens: 20, completion_tokens, total_tokens: 20 + completion_tokens }
    exchange.reply(200, completionBody(`Answer ${answers} of ${model}.`, { id, model, usage }))
  }
  return startUpstream(script)
}

const ALWAYS_DAYS = 36_500

/** All that is kept for some days is kept for good: a fixture is read years later. */
export const worldConfig = (
  origin: string,
  store: { kind: 'sqlite'; path: string } | { kind: 'redis'; url: string },
): TestConfig => ({
  store: { ...store, retention_days: ALWAYS_DAYS },
  privacy: { user_retention_days: ALWAYS_DAYS },
  responses: { ttl_days: ALWAYS_DAYS },
  providers: { up: { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false } },
  candidates: [
    { name: 'cheap', price: { input: 0.1, output: 0.4 }, benchmarks: { mmlu: 0.7 } },
    { name: 'middle', price: { input: 1, output: 4 }, benchmarks: { mmlu: 0.78 } },
    { name: 'dear', price: { input: 10, output: 60 }, benchmarks: { mmlu: 0.85 } },
  ].map((one) => ({ ...one, provider: 'up', context_window: 100_000, capabilities: ['tools'] })),
  router: {
    artifact: ARTIFACT,
    required: true,
    embedder: { kind: 'openai', base_url: `${origin}/v1`, model: 'tiny', dim: 8, timeout_ms: 10_000 },
    exploration_seed: 7,
    baseline: 'middle',
    shared_after_users: 1,
    shared_evidence: { min_answers: 1, min_age_hours: 0, half_life_days: ALWAYS_DAYS },
  },
  tenants: [
    {
      name: 'test',
      keys: [TEST_KEY],
      vouched_users: true,
      limits: { usd_per_month: 1_000 },
      user_limits: { usd_per_month: 5 },
    },
    {
      name: 'open',
      keys: [OPEN_KEY],
      plain_user_ids: true,
      keep_text_days: ALWAYS_DAYS,
      keep_comments: true,
      training: 'vectors',
    },
  ],
})
