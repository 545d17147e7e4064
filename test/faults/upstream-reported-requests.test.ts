import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { shippedDialects } from '../emulators/shipped.ts'
import { call } from '../support/clients.ts'
import { answering, type OddAndGood, startOddAndGood } from '../support/odd-and-good.ts'
import type { Exchange, Script } from '../support/upstream.ts'

/**
 * Requests that servers were reported to refuse from clients of other gateways (owner/repo#n): another candidate
 * answers, and what is remembered of the refusal is what was refused, no more.
 */

// biome-ignore lint/suspicious/noExplicitAny: JSON as it was sent
type Fields = Record<string, any>

let both: OddAndGood
beforeAll(async () => {
  both = await startOddAndGood(({ origin }) => ({
    dialects: shippedDialects(),
    providers: {
      anthropic: { kind: 'anthropic', base_url: `${origin}/v1`, key_required: false },
      local: { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false, dialect: 'vllm' },
      openai: { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false },
      google: { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false },
    },
    candidates: ['claude', 'local', 'openai', 'google'].map((name) => ({
      name,
      provider: name === 'claude' ? 'anthropic' : name,
      price: { input: 1, output: 2 },
      context_window: 1_000_000,
      capabilities: ['tools', 'vision', 'json_schema'],
      explore: false,
    })),
  }))
}, 60_000)
afterAll(() => both?.close())
beforeEach(() => both.forget())

/** @param only the candidate that may answer: one that is asked for by name gets the client's own bytes */
const ask = async (body: Fields, path = '/v1/chat/completions', only?: string) => {
  const headers = only === undefined ? {} : { 'x-router-allow': only }
  const response = await call(both.gateway, path, { body: { model: 'auto', ...body }, headers })
  return { status: response.status, by: response.headers.get('x-router-model'), text: await response.text(), response }
}
const hi = [{ role: 'user', content: 'Hi' }]
const tool = (name: string, more: object = {}) => ({
  type: 'function',
  function: { name, description: 'Looks.', parameters: { type: 'object', properties: {} }, ...more },
})
const bodyOf = (exchange: Exchange) => exchange.json as Fields

/** Refuses what a test says it refuses, and answers all else. */
const refusing =
  (when: (body: Fields) => boolean, status: number, refusal: object): Script =>
  (exchange) =>
    when(bodyOf(exchange)) ? exchange.reply(status, refusal) : answering('odd')(exchange)

/** What was sent to the odd one last. */
const sent = (): Fields => JSON.parse((both.odd.requests.at(-1) as { body: Buffer }).body.toString('utf8'))

describe('the other answers, then the first one gets what it takes', () => {
  const invalid = (message: string, more: object = {}) => ({
    error: { message, type: 'invalid_request_error', param: null, code: null, ...more },
  })
  const long = 'k'.repeat(72)
  const cases: [report: string, Script, asked: Fields, check: (body: Fields) => void][] = [
    [
      'top_p = 1 (huggingface/text-generation-inference#2222, argilla-io/synthetic-data-generator#48)',
      refusing((body) => body.top_p >= 1, 422, {
        error: 'Input validation error: `top_p` must be > 0.0 and < 1.0',
        error_type: 'validation',
      }),
      { messages: hi, top_p: 1 },
      (body) => expect(body).not.toHaveProperty('top_p'),
    ],
    [
      'names of messages (jekalmin/extended_openai_conversation#251, pollinations/pollinations#10653)',
      refusing(
        (body) => body.messages.some((one: Fields) => one.name && !/^[a-zA-Z0-9_-]+$/.test(one.name)),
        400,
        invalid(
          "Invalid 'messages[0].name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
          {
            param: 'messages[0].name',
            code: 'invalid_value',
          },
        ),
      ),
      { messages: [{ role: 'user', name: 'Ada L.', content: 'Hi' }] },
      (body) => expect(body.messages[0]).not.toHaveProperty('name'),
    ],
    [
      'a long prompt_cache_key (vybestack/llxprt-code#2135, theopenco/llmgateway#3110)',
      refusing(
        (body) => body.prompt_cache_key?.length > 64,
        400,
        invalid(
          "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64, but got a string with length 72 instead.",
          {
            param: 'prompt_cache_key',
            code: 'string_above_max_length',
          },
        ),
      ),
      { messages: hi, prompt_cache_key: long },
      (body) => expect(body.prompt_cache_key ?? '').not.toBe(long),
    ],
    [
      'a list where a text is wanted, told with all of its input (vllm-project/vllm#49239, vllm-project/vllm#54684)',
      refusing((body) => body.seed !== undefined, 400, {
        error: {
          message:
            "1 validation error:\n  {'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': {'temperature': 0.5, 'presence_penalty': 0.1, 'user': 'u'}}",
          type: 'BadRequestError',
          param: null,
          code: 400,
        },
      }),
      { messages: hi, temperature: 0.5, presence_penalty: 0.1, seed: 7 },
      (body) => {
        expect(body).not.toHaveProperty('seed')
        expect(body).toMatchObject({ temperature: 0.5, presence_penalty: 0.1 })
      },
    ],
  ]
  test.each(cases)('%s', async (_, script, asked, check) => {
    both.odd.play(script)
    expect(await ask(asked)).toMatchObject({ status: 200, by: 'good' })
    expect(await ask(asked)).toMatchObject({ status: 200, by: 'odd' })
    check(sent())
  })
})

describe('of a failure that this one request brought about nothing is remembered', () => {
  const failed = (message: string, failed_generation: string, code: string) => ({
    error: { message, type: 'invalid_request_error', code, failed_generation },
  })
  const cases: [report: string, refusal: object, asked: Fields, next: Fields][] = [
    [
      'a call that the model did not get right (tashfeenahmed/freellmapi#168)',
      failed(
        "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
        '<function=look>{"tools": "unsupported"}</function>',
        'tool_use_failed',
      ),
      { tools: [tool('look')] },
      { tools: [tool('look')] },
    ],
    [
      'a call of another name (zeroclaw-labs/zeroclaw#3757)',
      failed(
        "tool call validation failed: attempted to call tool 'see' which was not in request.tools",
        '',
        'tool_use_failed',
      ),
      { tools: [tool('look')] },
      { tools: [tool('look')] },
    ],
    [
      'JSON that the model did not get right, told with what it said (thepersonalaicompany/amurex-backend#38)',
      failed(
        "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
        '{"temperature": "not supported", "seed": 1}',
        'json_validate_failed',
      ),
      { temperature: 0.2, seed: 3, response_format: { type: 'json_object' } },
      { temperature: 0.2, seed: 3, response_format: { type: 'json_object' } },
    ],
    [
      'names of tools with dots, told by OpenAI (openai/codex#8174)',
      {
        error: {
          message:
            "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
          type: 'invalid_request_error',
          param: 'tools[0].function.name',
          code: 'invalid_value',
        },
      },
      { tools: [tool('mcp.look')] },
      { tools: [tool('look')] },
    ],
    [
      'and by Anthropic (craft-ai-agents/craft-agents-oss#498, home-assistant/core#147760)',
      {
        type: 'error',
        error: {
          type: 'invalid_request_error',
          message: "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
        },
      },
      { tools: [tool('mcp.look')] },
      { tools: [tool('look')] },
    ],
  ]
  test.each(cases)('%s', async (_, refusal, asked, next) => {
    both.odd.play(refusing(() => true, 400, refusal))
    expect(await ask({ messages: hi, ...asked })).toMatchObject({ status: 200, by: 'good' })
    both.odd.play(answering('odd'))
    expect(await ask({ messages: hi, ...next })).toMatchObject({ status: 200, by: 'odd' })
    expect(sent()).toMatchObject(next)
  })
})

describe('a request is put as its candidate takes it', () => {
  const called = (id: string, args = '{}') => ({ id, type: 'function', function: { name: 'look', arguments: args } })

  test.each(['openai', 'google', 'claude'])(
    'tools that are there twice go once: %s (anthropics/claude-code#10687, router-for-me/CLIProxyAPI#4244)',
    async (only) => {
      both.odd.play(answering('odd'))
      await ask({ messages: hi, tools: [tool('look'), tool('see'), tool('look')] }, undefined, only)
      const names = sent().tools.map((one: Fields) => one.name ?? one.function.name)
      expect(names).toEqual(['look', 'see'])
    },
  )

  test('two tools of one name that differ go to who takes them (rikkahub/rikkahub#1311)', async () => {
    both.odd.play(answering('odd'))
    const tools = [tool('look'), tool('look', { description: 'Looks elsewhere.' })]
    for (const only of ['google', 'claude'])
      expect(await ask({ messages: hi, tools }, undefined, `${only},good`)).toMatchObject({ status: 200, by: 'good' })
    expect(await ask({ messages: hi, tools }, undefined, 'openai')).toMatchObject({ status: 200, by: 'openai' })
  })

  test('parameters that are null (SAP/astonish#152, mozilla-ai/any-llm#1047)', async () => {
    both.odd.play(answering('odd'))
    for (const only of ['openai', 'google', 'local']) {
      await ask({ messages: hi, tools: [tool('look', { parameters: null, strict: null })] }, undefined, only)
      expect(sent().tools[0].function.parameters).toEqual({ type: 'object', properties: {} })
    }
    await ask({ messages: hi, tools: [tool('look', { parameters: null })] }, undefined, 'claude')
    expect(sent().tools[0].input_schema).toMatchObject({ type: 'object' })
  })

  test('content that is an empty list beside calls (0xPlaygrounds/rig#1362)', async () => {
    both.odd.play(answering('odd'))
    const messages = [
      ...hi,
      { role: 'assistant', content: [], tool_calls: [called('call_1')] },
      { role: 'tool', tool_call_id: 'call_1', content: 'Seen.' },
    ]
    await ask({ messages, tools: [tool('look')] }, undefined, 'local')
    expect(sent().messages[1].content).toBe('')
  })

  const claudeAnswers: Script = (exchange) =>
    exchange.reply(200, {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'c',
      content: [{ type: 'text', text: 'odd' }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 1, output_tokens: 1 },
    })

  test('results of calls that were made at once are one turn (router-for-me/CLIProxyAPI#4656)', async () => {
    both.odd.play(claudeAnswers)
    const messages = [
      ...hi,
      { role: 'assistant', content: '', tool_calls: [called('tc_one'), called('tc_two', '')] },
      { role: 'tool', tool_call_id: 'tc_one', content: 'one' },
      { role: 'tool', tool_call_id: 'tc_two', content: 'two' },
    ]
    expect((await ask({ model: 'claude', messages, tools: [tool('look')] })).status).toBe(200)
    const [, calls, results, ...more] = sent().messages
    expect(calls.content.map(({ type, input }: Fields) => [type, input])).toEqual([
      ['tool_use', {}],
      ['tool_use', {}],
    ])
    expect(results.content.map(({ tool_use_id: id }: Fields) => id)).toEqual(['tc_one', 'tc_two'])
    expect(more).toEqual([])
  })

  test('pictures in results of calls made at once come after all of them (Yeachan-Heo/gajae-code#4807)', async () => {
    both.odd.play(claudeAnswers)
    const image =
      'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
    const output = (text: string) => [
      { type: 'input_text', text },
      { type: 'input_image', image_url: image },
    ]
    const input = [
      { role: 'user', content: 'Hi' },
      { type: 'function_call', call_id: 'tc_one', name: 'look', arguments: '{}' },
      { type: 'function_call', call_id: 'tc_two', name: 'look', arguments: '{}' },
      { type: 'function_call_output', call_id: 'tc_one', output: output('one') },
      { type: 'function_call_output', call_id: 'tc_two', output: output('two') },
    ]
    const asked = {
      model: 'claude',
      input,
      store: false,
      tools: [{ type: 'function', name: 'look', parameters: { type: 'object', properties: {} } }],
    }
    expect((await ask(asked, '/v1/responses')).status).toBe(200)
    const [, , results, ...more] = sent().messages
    const kinds = results.content.map(({ type }: Fields) => type)
    expect(kinds.slice(0, 2)).toEqual(['tool_result', 'tool_result'])
    expect(JSON.stringify(results.content).match(/iVBOR/g)).toHaveLength(2)
    expect(more).toEqual([])
  })

  test('half of a character (raullenchai/Rapid-MLX#730, Aider-AI/aider#3693)', async () => {
    both.odd.play(answering('odd'))
    const half = String.raw`"\ud83d"`
    const bodies: [string, string][] = [
      ['/v1/chat/completions', `{"model":"auto","messages":[{"role":"user","content":${half}}]}`],
      ['/v1/responses', `{"model":"auto","input":${half},"store":false}`],
      ['/v1/messages', `{"model":"auto","max_tokens":9,"messages":[{"role":"user","content":${half}}]}`],
      ['/v1/completions', `{"model":"auto","prompt":${half}}`],
    ]
    for (const [path, body] of bodies) expect((await call(both.gateway, path, { body })).status).toBe(200)
  })

  test('server tools do not refuse a whole request (agentgateway/agentgateway#2804, envoyproxy/ai-gateway#2467)', async () => {
    both.odd.play(answering('odd'))
    const body = {
      model: 'odd',
      max_tokens: 9,
      messages: hi,
      thinking: { type: 'adaptive' },
      metadata: { user_id: 'u' },
      context_management: { edits: [] },
      tools: [
        { type: 'bash_20250124', name: 'bash' },
        { name: 'look', input_schema: { type: 'object' } },
      ],
    }
    const { status, response } = await ask(body, '/v1/messages')
    expect(status).toBe(200)
    expect(response.headers.get('x-router-dropped')).toMatch(/tools\.bash_20250124/)
  })
})
