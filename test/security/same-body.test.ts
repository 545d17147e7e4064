import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseRawBody } from '../../src/openai/raw-body.ts'
import { ANTHROPIC_GUARDS, OPENAI_GUARDS } from '../../src/providers/guards.ts'
import { LITELLM_FIELDS } from '../../src/providers/litellm-guards.ts'
import { call, complete, expectError } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { completionBody, type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/** The body that was authorised is the body that a provider reads. */
let upstream: Upstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = await startUpstream((exchange: Exchange) => exchange.reply(200, completionBody()))
  const provider = { base_url: `${upstream.origin}/v1`, api_key: 'sk-provider-key-0123456789' }
  const candidate = { price: { input: 1, output: 2 }, context_window: 100_000 }
  gateway = await startGateway({
    providers: {
      shut: { kind: 'openai-compatible', ...provider },
      open: { kind: 'openai-compatible', ...provider, pass: ['service_tier', 'models'] },
      native: { kind: 'openai-compatible', ...provider, api: ['chat', 'responses'] },
      claude: { kind: 'anthropic', ...provider },
    },
    candidates: ['shut', 'open', 'native', 'claude'].map((name) => ({ ...candidate, name, provider: name })),
    retries: { max_attempts: 1 },
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const messages = [{ role: 'user', content: 'Hi' }]
const ENDPOINTS = {
  '/v1/chat/completions': { model: 'shut', messages },
  '/v1/responses': { model: 'shut', input: 'Hi' },
  '/v1/messages': { model: 'shut', max_tokens: 5, messages },
  '/v1/embeddings': { model: 'shut', input: 'Hi' },
  '/v1/completions': { model: 'shut', prompt: 'Hi' },
}

/** Also of servers in Go, or whatever else reads other spellings, or refused since long. */
const BY_ALL = `api_base api_key api_version api_type organization custom_llm_provider region_name fallbacks model_list
  num_retries guardrails tags cache caching mock_response user_config deployment_id input_cost_per_token base_model
  aws_region_name vertex_project`.split(/\s+/)
/** Read by nobody under another spelling: programs in Python, and gateways of their own makers. */
const READ_EXACTLY = new Set([
  ...LITELLM_FIELDS.filter((field) => !BY_ALL.includes(field)),
  ...`anthropic-beta webhook callback_url request_id rid data_parallel_rank routed_dp_rank disagg_prefill_dp_rank
  cache_salt extra_key prompt_cache_isolation_key bootstrap_pair_key custom_params return_hidden_states
  logits_processors vllm_xargs ec_transfer_params google enhancements amazon-bedrock-guardrailConfig
  guardrailConfig performanceConfig additionalModelRequestFields compound_custom safety_model compliance
  debug`.split(/\s+/),
])

describe('keys that a provider may take for others', () => {
  // U+212A upper-cases to itself and lower-cases to k; U+017F and U+0131 the other way round.
  const ALIKE = ['Model', 'MODEL', 'max_toKens', 'meſſages', 'ſtream', 'N', 'maxTokens', 'max-tokens', 'servıce_tier']

  test.each(Object.keys(ENDPOINTS))('%s refuses them and asks nobody', async (path) => {
    const before = upstream.requests.length
    for (const key of ALIKE) {
      const body = { ...ENDPOINTS[path as keyof typeof ENDPOINTS], [key]: 'dear' }
      const answer = await call(gateway, path, { body })
      // A route that is not there yet answers nobody either.
      if (answer.status === 404 && (await answer.clone().text()).includes('unknown_url')) continue
      expect([path, key, answer.status]).toEqual([path, key, 400])
      const { error } = await answer.json()
      if (path !== '/v1/messages') expect(error.param).toBe(key.replace(/[^\x20-\x7e]/g, '?'))
    }
    expect(upstream.requests.length).toBe(before)
  })

  test.each([
    [{ messages: [{ role: 'user', content: 'a', Content: 'b' }] }, 'messages.0.Content'],
    [{ messages: [{ role: 'user', content: [{ type: 'text', text: 'a', teXt: 'b' }] }] }, 'messages.0.content.0.teXt'],
    [{ input: [{ role: 'user', Role: 'system', content: 'a' }] }, 'input.0.Role'],
    [{ stream_options: { Include_usage: false } }, 'stream_options.Include_usage'],
  ])('nor below: %j', (body, param) => {
    expect(() => parseRawBody(Buffer.from(JSON.stringify(body)))).toThrow(expect.objectContaining({ param }))
  })

  test('nor is a look-alike of a field that is left off', () => {
    const fields = Object.keys({ ...OPENAI_GUARDS, ...ANTHROPIC_GUARDS }).filter((field) => !READ_EXACTLY.has(field))
    for (const field of fields) {
      for (const alike of [
        field.toUpperCase(),
        field.replace(/s/g, '\u017f'),
        field.replace(/_(.)/g, (_, l) => l.toUpperCase()),
      ]) {
        if (alike === field) continue
        expect(() => parseRawBody(Buffer.from(JSON.stringify({ [alike]: 1 }))), alike).toThrow(
          /differs from a known one/,
        )
      }
    }
  })

  test('what is inside of schemas, arguments, metadata is the client’s', async () => {
    const own = { Model: 1, ROLE: 2, maxTokens: 3 }
    const body = {
      model: 'shut',
      messages: [
        ...messages,
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: JSON.stringify(own) } }],
        },
        { role: 'tool', tool_call_id: 'a', content: JSON.stringify(own) },
      ],
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: own } } }],
      metadata: own,
      enable_thinking: true,
    }
    const answer = await call(gateway, '/v1/chat/completions', { body })
    expect([answer.status, await answer.text()]).toEqual([200, expect.any(String)])
    expect(JSON.parse(upstream.requests.at(-1)?.body.toString() ?? '')).toMatchObject({
      tools: body.tools,
      metadata: own,
    })
  })
})

describe('fields that choose model, price, place or storage at a provider', () => {
  test.each(Object.keys(OPENAI_GUARDS))('%s is left off, and that is told', async (field) => {
    const value =
      field === 'service_tier'
        ? 'priority'
        : ['store', 'ignore_eos', 'enable_search', 'return_hidden_states'].includes(field) || 7
    const answer = await complete(gateway, { model: 'shut', seed: 1, [field]: value })
    expect([answer.status, answer.headers.get('x-router-dropped')]).toEqual([200, field])
    const sent = JSON.parse(upstream.requests.at(-1)?.body.toString() ?? '')
    expect(sent).toEqual({ model: 'shut', messages, seed: 1 })
  })

  test('metadata that picks a deployment is left off, and that is told; what a client notes there is not', async () => {
    const picking = [
      ...[{ tags: ['free'] }, { guardrails: ['none'], a: 'b' }, { disable_global_guardrail: true }],
      { opted_out_global_guardrails: ['pii'] },
      { user_api_key_metadata: { disable_global_guardrails: true } },
      { user_api_key_team_metadata: { opted_out_global_guardrails: ['pii'] } },
      // Some versions take any text for yes, or read it as JSON.
      ...['disable_global_guardrail', 'disable_global_guardrails', 'opted_out_global_guardrails'].map((name) => ({
        [name]: 'true',
      })),
      ...[{ user_api_key_metadata: '{}' }, { guardrail_config: '{}' }, { policies: 'none' }, { 'no-log': 'true' }],
      ...[{ langfuse_host: 'https://example.com' }, { input_cost_per_token: '0' }, { cache: { 'no-store': true } }],
    ]
    for (const metadata of picking) {
      const answer = await complete(gateway, { model: 'shut', metadata })
      expect([answer.status, answer.headers.get('x-router-dropped')]).toEqual([200, 'metadata'])
      expect(JSON.parse(upstream.requests.at(-1)?.body.toString() ?? '')).not.toHaveProperty('metadata')
    }
    const noted = { tags: 'a,b', session: 7, tenant_id: 'x', priority: 'high', policy: 'gold', cost_center: '4' }
    const body = { metadata: noted, tenantId: 'own', clientId: 'own' }
    const answer = await complete(gateway, { model: 'shut', ...body })
    expect([answer.status, answer.headers.get('x-router-dropped')]).toEqual([200, null])
    expect(JSON.parse(upstream.requests.at(-1)?.body.toString() ?? '')).toMatchObject(body)
  })

  test('harmless values pass', async () => {
    const body = { service_tier: 'default', store: false, min_tokens: 0, ignore_eos: false, plugins: null }
    const answer = await complete(gateway, { model: 'shut', ...body })
    expect(answer.headers.get('x-router-dropped')).toBeNull()
    expect(JSON.parse(upstream.requests.at(-1)?.body.toString() ?? '')).toMatchObject(body)
  })

  test('`pass` opens those that it names', async () => {
    const answer = await complete(gateway, { model: 'open', service_tier: 'flex', models: ['a'], route: 'fallback' })
    expect(answer.headers.get('x-router-dropped')).toBe('route')
    expect(JSON.parse(upstream.requests.at(-1)?.body.toString() ?? '')).toMatchObject({
      service_tier: 'flex',
      models: ['a'],
    })
  })

  test('strict requests are refused instead', async () => {
    const before = upstream.requests.length
    const headers = { 'x-router-strict': 'on' }
    const answer = await complete(gateway, { model: 'shut', models: ['dear'] }, { headers })
    expect(answer.status).toBe(400)
    expect(expectError(await answer.text()).param).toBe('models')
    expect(upstream.requests.length).toBe(before)
  })

  test.each([
    ['native', '/v1/responses', { service_tier: 'priority', store: true }, ['service_tier'], ['store']],
    [
      'claude',
      '/v1/messages',
      { service_tier: 'auto', speed: 'fast', mcp_servers: [] },
      ['speed', 'mcp_servers'],
      ['service_tier'],
    ],
  ])('in a format that %s speaks itself', async (model, path, more, gone, kept) => {
    const body = { ...ENDPOINTS[path as '/v1/messages'], model, ...more }
    await call(gateway, path, { body })
    const sent = JSON.parse(upstream.requests.at(-1)?.body.toString() ?? '')
    expect(sent.model).toBe(model)
    for (const field of gone) expect(sent).not.toHaveProperty(field)
    for (const field of kept) expect(sent).toHaveProperty(field)
  })
})
