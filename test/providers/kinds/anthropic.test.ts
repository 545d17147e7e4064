import type Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { GatewayError, UnsupportedRequest } from '../../../src/errors.ts'
import { parseUsage } from '../../../src/openai/usage.ts'
import { openaiError } from '../../../src/providers/kinds/anthropic/error.ts'
import { finishReason } from '../../../src/providers/kinds/anthropic/finish-reason.ts'
import { dialectOf } from '../../../src/providers/kinds/anthropic/generation.ts'
import { outputSchema } from '../../../src/providers/kinds/anthropic/json-schema.ts'
import { messagesBody } from '../../../src/providers/kinds/anthropic/request.ts'
import { completionOf } from '../../../src/providers/kinds/anthropic/response.ts'
import { openaiStream } from '../../../src/providers/kinds/anthropic/stream.ts'
import { mergeUsage, openaiUsage } from '../../../src/providers/kinds/anthropic/usage.ts'
import { chat } from '../../contracts/provider.ts'
import { fixture, fixtureJson, replyFixture } from '../../support/fixtures.ts'
import fc from '../../support/properties.ts'
import { ask, candidate, type Harness, startHarness } from '../../support/relay-harness.ts'
import { startUpstream, type Upstream } from '../../support/upstream.ts'

const sonnet = candidate('sonnet', 'anthropic', { model: 'claude-sonnet-4-5', maxOutputTokens: 64_000 })
const body = (fields: Record<string, unknown>, who: Candidate = sonnet) => messagesBody(chat(fields).body, who, 4096)
const of = (model: string) => candidate('c', 'anthropic', { model })

/** Its error, with the field at fault. */
const refusal = (fields: Record<string, unknown>) => {
  try {
    body(fields)
  } catch (error) {
    if (error instanceof UnsupportedRequest) return { status: error.status, param: error.param, message: error.message }
    throw error
  }
  throw new Error('it was not refused')
}

describe('request', () => {
  test('the least: model, limit, messages', () => {
    expect(body({})).toEqual({
      model: 'claude-sonnet-4-5',
      max_tokens: 4096,
      stream: false,
      messages: [{ role: 'user', content: [{ type: 'text', text: 'What is the capital of France?' }] }],
    })
  })

  test('system and developer messages become system; neighbours of one role become one turn', () => {
    const sent = body({
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'developer', content: [{ type: 'text', text: 'Be kind.' }] },
        { role: 'user', content: 'One' },
        { role: 'user', content: [{ type: 'text', text: 'Two' }] },
        { role: 'assistant', content: 'Three' },
        { role: 'user', content: 'Four' },
      ],
    })
    expect(sent.system).toEqual([
      { type: 'text', text: 'Be brief.' },
      { type: 'text', text: 'Be kind.' },
    ])
    expect(sent.messages).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'One' },
          { type: 'text', text: 'Two' },
        ],
      },
      { role: 'assistant', content: [{ type: 'text', text: 'Three' }] },
      { role: 'user', content: [{ type: 'text', text: 'Four' }] },
    ])
  })

  test('a tool loop: parallel calls, their results in one user turn and first in it', () => {
    const sent = body({
      tools: [
        { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' }, strict: true } },
      ],
      messages: [
        { role: 'user', content: 'Go' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
            { id: 'b', type: 'function', function: { name: 'f', arguments: '' } },
          ],
        },
        { role: 'tool', tool_call_id: 'a', content: '42' },
        { role: 'tool', tool_call_id: 'b', content: [{ type: 'text', text: 'ok' }] },
        { role: 'user', content: 'And now?' },
      ],
    })
    expect(sent.tools).toEqual([
      {
        name: 'f',
        description: 'd',
        input_schema: { type: 'object', properties: {}, additionalProperties: false },
        strict: true,
      },
    ])
    expect(sent.messages.slice(1)).toEqual([
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } },
          { type: 'tool_use', id: 'b', name: 'f', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: '42' }] },
          { type: 'tool_result', tool_use_id: 'b', content: [{ type: 'text', text: 'ok' }] },
          { type: 'text', text: 'And now?' },
        ],
      },
    ])
  })

  const tool = { type: 'function', function: { name: 'f' } }
  test.each([
    [undefined, undefined, undefined],
    ['auto', undefined, undefined],
    ['auto', false, { type: 'auto', disable_parallel_tool_use: true }],
    ['none', undefined, { type: 'none' }],
    ['required', undefined, { type: 'any' }],
    ['required', false, { type: 'any', disable_parallel_tool_use: true }],
    [{ type: 'function', function: { name: 'f' } }, undefined, { type: 'tool', name: 'f' }],
  ])('tool_choice %j with parallel_tool_calls %j', (tool_choice, parallel_tool_calls, expected) => {
    expect(body({ tools: [tool], tool_choice, parallel_tool_calls }).tool_choice).toEqual(expected)
  })

  test('images: data URLs and https URLs; PDF files', () => {
    const sent = body({
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: 'https://example.com/a.png', detail: 'high' } },
            { type: 'image_url', image_url: { url: 'data:image/jpg;base64,AAAA' } },
            { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,BBBB' } },
          ],
        },
      ],
    })
    expect(sent.messages[0]?.content).toEqual([
      { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
      { type: 'image', source: { type: 'base64', media_type: 'image/jpeg', data: 'AAAA' } },
      { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'BBBB' }, title: 'a.pdf' },
    ])
  })

  test('limits, stops, sampling, user', () => {
    expect(
      body({
        max_tokens: 7,
        stop: ['a', ' ', ''],
        temperature: 1.7,
        top_p: 0.5,
        user: 'u1',
        seed: 3,
        presence_penalty: 1,
      }),
    ).toMatchObject({ max_tokens: 7, stop_sequences: ['a'], temperature: 1, metadata: { user_id: 'u1' } })
    expect(body({ temperature: 1.7, top_p: 0.5 })).not.toHaveProperty('top_p')
    expect(body({ max_completion_tokens: 9, max_tokens: 7, stop: 'x' })).toMatchObject({
      max_tokens: 9,
      stop_sequences: ['x'],
    })
    expect(body({ seed: 3, logit_bias: {} })).not.toHaveProperty('seed')
    expect(body({ max_tokens: 900_000 }).max_tokens).toBe(64_000)
    expect(body({ temperature: 0.5 }, of('claude-opus-4-7'))).not.toHaveProperty('temperature')
  })

  test("a candidate's defaults hold where the request says nothing", () => {
    const eager = { ...sonnet, defaults: { temperature: 0.1, max_tokens: 50 } }
    expect(body({}, eager)).toMatchObject({ temperature: 0.1, max_tokens: 50 })
    expect(body({ temperature: 0.9 }, eager)).toMatchObject({ temperature: 0.9 })
    const long = { ...sonnet, defaults: { max_completion_tokens: 32_000 } }
    expect(body({ max_tokens: 200 }, long).max_tokens).toBe(200)
    expect(body({}, long).max_tokens).toBe(32_000)
  })

  describe('reasoning_effort', () => {
    test('a budget within the limit until 4.5, which fixes the temperature', () => {
      const sent = body({ reasoning_effort: 'medium', max_completion_tokens: 10_000, temperature: 0.3 })
      expect(sent.thinking).toEqual({ type: 'enabled', budget_tokens: 5_000 })
      expect(sent.max_tokens).toBe(10_000)
      expect(sent).not.toHaveProperty('temperature')
    })

    test('room for the answer beside the budget where no limit is given', () => {
      const sent = body({ reasoning_effort: 'high' })
      expect(sent.thinking).toEqual({ type: 'enabled', budget_tokens: 22_937 })
      expect(sent.max_tokens).toBe(28_672)
    })

    test.each(['low', 'medium', 'high'])(
      '%s always leaves the budget below the limit, and at least 1,024',
      (reasoning_effort) => {
        for (const max_tokens of [1, 1_024, 1_025, 2_000, 50_000, 64_000]) {
          const { thinking, max_tokens: limit } = body({ reasoning_effort, max_tokens })
          if (thinking?.type !== 'enabled') expect(max_tokens).toBeLessThanOrEqual(1_024)
          else {
            expect(thinking.budget_tokens).toBeGreaterThanOrEqual(1_024)
            expect(thinking.budget_tokens).toBeLessThan(limit)
          }
        }
      },
    )

    test('adaptive thinking with effort from 4.6 on', () => {
      expect(body({ reasoning_effort: 'xhigh' }, of('claude-opus-4-7'))).toMatchObject({
        thinking: { type: 'adaptive' },
        output_config: { effort: 'xhigh' },
      })
      expect(body({ reasoning_effort: 'minimal' }, of('claude-sonnet-4-6')).output_config).toEqual({ effort: 'low' })
    })

    test('none, forced tools, old models, and a tool loop without its thoughts: no thinking', () => {
      expect(body({ reasoning_effort: 'none' })).not.toHaveProperty('thinking')
      expect(body({ reasoning_effort: 'none' }, of('claude-opus-5')).thinking).toEqual({ type: 'disabled' })
      expect(body({ reasoning_effort: 'high', tools: [tool], tool_choice: 'required' })).not.toHaveProperty('thinking')
      expect(body({ reasoning_effort: 'high' }, of('claude-3-5-haiku-20241022'))).not.toHaveProperty('thinking')
      const loop = (reasoning_details?: unknown) => [
        { role: 'user', content: 'Go' },
        {
          role: 'assistant',
          content: null,
          reasoning_details,
          tool_calls: [{ id: 'toolu_a', type: 'function', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'toolu_a', content: '42' },
      ]
      expect(body({ reasoning_effort: 'high', tools: [tool], messages: loop() })).not.toHaveProperty('thinking')
      const details = [
        { type: 'reasoning.text', text: 'hm', signature: 'sig' },
        { type: 'reasoning.encrypted', data: 'xx' },
      ]
      const whole = body({ reasoning_effort: 'high', tools: [tool], messages: loop(details) })
      expect(whole.thinking).toMatchObject({ type: 'enabled' })
      expect(whole.messages[1]?.content).toMatchObject([
        { type: 'thinking', thinking: 'hm', signature: 'sig' },
        { type: 'redacted_thinking', data: 'xx' },
        { type: 'tool_use' },
      ])
    })
  })

  describe('response_format', () => {
    const response_format = {
      type: 'json_schema',
      json_schema: { name: 'a', schema: { type: 'object', properties: { city: { type: 'string' } } } },
    }

    test('json_schema: output_config.format from 4.5 on', () => {
      expect(body({ response_format }).output_config).toEqual({
        format: {
          type: 'json_schema',
          schema: { type: 'object', properties: { city: { type: 'string' } }, additionalProperties: false },
        },
      })
    })

    test('json_schema: a forced tool before', () => {
      const sent = body({ response_format }, of('claude-3-5-haiku-20241022'))
      expect(sent.tool_choice).toEqual({ type: 'tool', name: 'json_answer' })
      expect(sent.tools).toMatchObject([{ name: 'json_answer', input_schema: response_format.json_schema.schema }])
    })

    test('json_object: said in words', () => {
      expect(JSON.stringify(body({ response_format: { type: 'json_object' } }).system)).toContain('JSON object')
    })

    test('constraints that the API refuses are said in words; the rest stays', () => {
      expect(
        outputSchema({
          type: 'object',
          properties: {
            n: { type: 'integer', minimum: 1, description: 'how many' },
            xs: { type: 'array', minItems: 2, items: { $ref: '#/$defs/x' } },
          },
          $defs: { x: { anyOf: [{ type: 'object', properties: {} }, { type: 'null' }] } },
          required: ['n'],
        }),
      ).toEqual({
        type: 'object',
        properties: {
          n: { type: 'integer', description: 'how many (minimum: 1)' },
          xs: { type: 'array', items: { $ref: '#/$defs/x' }, description: '(minItems: 2)' },
        },
        $defs: { x: { anyOf: [{ type: 'object', properties: {}, additionalProperties: false }, { type: 'null' }] } },
        required: ['n'],
        additionalProperties: false,
      })
    })
  })

  test('cache marks are passed on: of parts, and of the whole from defaults', () => {
    const mark = { cache_control: { type: 'ephemeral' } }
    const part = { type: 'text', text: 'long', ...mark }
    const sent = body(
      {
        messages: [
          { role: 'system', content: [part] },
          { role: 'user', content: [part] },
        ],
      },
      { ...sonnet, defaults: mark },
    )
    expect(sent).toMatchObject({ system: [part], messages: [{ content: [part] }], ...mark })
  })

  test('whatever a valid request holds, it is converted or refused', () => {
    const loose = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom('auto', 'json_schema', 'high', {}, [{}], [null]),
    )
    const part = fc.record(
      {
        type: fc.constantFrom('text', 'image_url', 'file', 'input_audio', 'x'),
        text: fc.string(),
        image_url: loose,
        file: loose,
        cache_control: loose,
      },
      { requiredKeys: ['type'] },
    )
    const message = fc.record(
      {
        role: fc.constantFrom('system', 'developer', 'user', 'assistant', 'tool', 'function'),
        content: fc.oneof(fc.string(), fc.array(part), fc.constant(null)),
        tool_calls: fc.array(fc.record({ id: loose, function: loose }, { requiredKeys: [] })),
        tool_call_id: loose,
        reasoning_details: loose,
      },
      { requiredKeys: ['role'] },
    )
    const fields = fc.record(
      {
        messages: fc.array(message, { minLength: 1 }),
        tools: fc.array(
          fc.record({ type: fc.constantFrom('function', 'custom'), function: loose }, { requiredKeys: ['type'] }),
        ),
        tool_choice: loose,
        parallel_tool_calls: fc.boolean(),
        reasoning_effort: loose,
        response_format: fc.record({ type: fc.constantFrom('text', 'json_object', 'json_schema'), json_schema: loose }),
        max_tokens: fc.integer({ min: 1 }),
        cache_control: loose,
      },
      { requiredKeys: ['messages'] },
    )
    fc.assert(
      fc.property(
        fields,
        fc.constantFrom('claude-3-5-haiku-20241022', 'claude-sonnet-4-5', 'claude-opus-5'),
        (given, model) => {
          try {
            const { messages, max_tokens } = body(given, of(model))
            expect(messages.length).toBeGreaterThan(0)
            expect(max_tokens).toBeGreaterThan(0)
            // Turns alternate, and none is empty.
            messages.forEach(({ role, content }, index) => {
              expect(content.length).toBeGreaterThan(0)
              expect(role).not.toBe(messages[index - 1]?.role)
            })
          } catch (error) {
            // A field that looks like a known one is refused before anything is converted.
            const isLookAlike = error instanceof GatewayError && error.message.includes('differs from a known one')
            if (!(error instanceof UnsupportedRequest || isLookAlike)) throw error
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  test.each([
    [{ n: 2 }, 'n'],
    [{ logprobs: true }, 'logprobs'],
    [{ modalities: ['text', 'audio'] }, 'modalities'],
    [{ functions: [{ name: 'f' }] }, 'functions'],
    [{ tools: [{ type: 'custom', custom: {} }] }, 'tools.0.type'],
    [{ messages: [{ role: 'system', content: 'x' }] }, 'messages'],
    [{ messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: {} }] }] }, 'messages.0.content.0'],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://x/a.png' } }] }] },
      'messages.0.content.0.image_url.url',
    ],
    [
      {
        messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/tiff;base64,AA' } }] }],
      },
      'messages.0.content.0.image_url.url',
    ],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages.0.tool_call_id'],
    [
      {
        messages: [
          { role: 'user', content: 'x' },
          { role: 'assistant', tool_calls: [{ id: 'a', function: { name: 'f', arguments: '[' } }] },
        ],
      },
      'messages.1.tool_calls.0.function.arguments',
    ],
  ])('%j is refused, naming the field', (fields, param) => {
    expect(refusal(fields)).toMatchObject({ status: 400, param })
  })

  test.each([
    ['claude-3-5-haiku-20241022', { thinking: 'none', sampling: true, structuredOutputs: false }],
    ['claude-3-7-sonnet-latest', { thinking: 'budget', structuredOutputs: false }],
    ['claude-opus-4-20250514', { thinking: 'budget', structuredOutputs: false }],
    ['claude-sonnet-4-5-20250929', { thinking: 'budget', structuredOutputs: true, sampling: true }],
    ['claude-haiku-4-5@20251001', { thinking: 'budget', structuredOutputs: true }],
    ['anthropic/claude-opus-4.6', { thinking: 'adaptive', sampling: true }],
    ['claude-opus-4-7', { thinking: 'adaptive', sampling: false, thinksByDefault: false }],
    ['claude-opus-5', { thinking: 'adaptive', sampling: false, thinksByDefault: true }],
    ['claude-next', { thinking: 'adaptive', sampling: false }],
  ])('what %s takes', (model, dialect) => {
    expect(dialectOf(model)).toMatchObject(dialect)
  })
})

describe('response', () => {
  const message = (name: string) => completionOf(fixtureJson<Anthropic.Message>(`anthropic/${name}`), 1)

  test('text and usage: the prompt includes what the cache held', () => {
    expect(message('plain.json')).toMatchObject({
      id: 'msg_013Zva2CMHLNnXjNJJKqJ2EF',
      model: 'claude-sonnet-4-5-20250929',
      choices: [{ message: { role: 'assistant', content: 'The capital of France is Paris.' }, finish_reason: 'stop' }],
      usage: {
        prompt_tokens: 19,
        completion_tokens: 10,
        total_tokens: 29,
        prompt_tokens_details: { cached_tokens: 8 },
      },
    })
  })

  test('parallel tool calls beside text', () => {
    const [choice] = message('tools.json').choices
    expect(choice?.finish_reason).toBe('tool_calls')
    expect(choice?.message).toMatchObject({
      content: "I'll look at both.",
      tool_calls: [
        { id: 'toolu_01A09q90qw90lq917835lq9', function: { name: 'get_weather', arguments: '{"city":"Paris"}' } },
        { id: 'toolu_01B', function: { name: 'get_time', arguments: '{}' } },
      ],
    })
  })

  test('thoughts: to read, and with their signatures to send back', () => {
    const completion = message('thinking.json')
    expect(completion.choices[0]?.message).toMatchObject({
      content: 'Paris.',
      reasoning_content: 'France... its capital is Paris.',
      reasoning_details: [
        {
          type: 'reasoning.text',
          text: 'France... its capital is Paris.',
          signature: expect.any(String),
          format: 'anthropic-claude-v1',
          index: 0,
        },
        { type: 'reasoning.encrypted', data: 'EmwKAhgBEgy3va3pzix', format: 'anthropic-claude-v1', index: 1 },
      ],
    })
    expect(parseUsage(completion.usage)).toEqual({
      promptTokens: 119,
      completionTokens: 60,
      cachedTokens: 8,
      cacheWriteTokens: 100,
      reasoningTokens: 48,
    })
  })

  test('a refusal, and JSON by way of a tool', () => {
    expect(message('refusal.json').choices[0]).toMatchObject({
      finish_reason: 'content_filter',
      message: { content: null, refusal: 'This request was declined.' },
    })
    expect(message('json-tool.json').choices[0]).toMatchObject({
      finish_reason: 'stop',
      message: { content: '{"city":"Paris"}' },
    })
  })

  test.each([
    ['end_turn', 'stop'],
    ['stop_sequence', 'stop'],
    ['max_tokens', 'length'],
    ['model_context_window_exceeded', 'length'],
    ['tool_use', 'tool_calls'],
    ['pause_turn', 'stop'],
    ['refusal', 'content_filter'],
    [null, 'stop'],
  ] as const)('stop_reason %s is finish_reason %s', (reason, expected) => {
    expect(finishReason(reason, false)).toBe(expected)
  })

  test('usage: later counts replace earlier ones, missing ones do not', () => {
    const merged = mergeUsage(
      { input_tokens: 5, output_tokens: 1, cache_read_input_tokens: 2 },
      { output_tokens: 9, input_tokens: null },
    )
    expect(openaiUsage(merged)).toMatchObject({ prompt_tokens: 7, completion_tokens: 9 })
  })
})

describe('stream', () => {
  /** Chunks of a recorded stream, in pieces of the given size. */
  async function chunks(name: string, size = 50) {
    const bytes = fixture(`anthropic/${name}`)
    async function* pieces() {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
    }
    let text = ''
    for await (const frame of openaiStream(pieces(), 1)) text += frame.toString()
    const data = text
      .split('\n\n')
      .filter((event) => event.startsWith('data: {'))
      .map((event) => JSON.parse(event.slice(6)))
    return {
      text,
      data: data as OpenAI.ChatCompletionChunk[],
      deltas: data.flatMap(({ choices }) => choices ?? []).map(({ delta }) => delta),
    }
  }

  test.each([1, 7, 50, 100_000])('in pieces of %d bytes it is the same', async (size) => {
    expect((await chunks('tools.sse', size)).text).toBe((await chunks('tools.sse')).text)
  })

  test('text: role, words, ping as a comment, end, usage, [DONE]', async () => {
    const { text, data } = await chunks('plain.sse')
    expect(text).toContain(': ping\n\n')
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
    expect(
      data
        .map(({ choices }) => choices[0]?.delta.content)
        .filter(Boolean)
        .join(''),
    ).toBe('The capital of France is Paris.')
    expect(data.at(-2)?.choices[0]?.finish_reason).toBe('stop')
    expect(data.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 19, completion_tokens: 10 } })
  })

  test('parallel tool calls are numbered; one without arguments gets {}', async () => {
    const { data } = await chunks('tools.sse')
    const calls: { name?: string; arguments: string }[] = []
    for (const delta of data.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? [])) {
      calls[delta.index] ??= { ...(delta.function?.name && { name: delta.function.name }), arguments: '' }
      ;(calls[delta.index] as { arguments: string }).arguments += delta.function?.arguments ?? ''
    }
    expect(calls).toEqual([
      { name: 'get_weather', arguments: '{"city": "Paris"}' },
      { name: 'get_time', arguments: '{}' },
    ])
  })

  test('thoughts stream as reasoning_content; each ends with its signature', async () => {
    const { deltas, data } = await chunks('thinking.sse')
    expect(deltas.map((delta) => delta.reasoning_content ?? '').join('')).toBe('France... its capital is Paris.')
    expect(deltas.flatMap((delta) => delta.reasoning_details ?? [])).toEqual([
      {
        type: 'reasoning.text',
        text: 'France... its capital is Paris.',
        signature: expect.any(String),
        format: 'anthropic-claude-v1',
        index: 0,
      },
      { type: 'reasoning.encrypted', data: 'EmwKAhgBEgy3va3pzix', format: 'anthropic-claude-v1', index: 1 },
    ])
    expect(parseUsage(data.at(-1)?.usage)).toMatchObject({
      promptTokens: 119,
      cachedTokens: 8,
      cacheWriteTokens: 100,
      reasoningTokens: 48,
    })
  })

  test('JSON by way of a tool is content', async () => {
    const { data, deltas } = await chunks('json-tool.sse')
    expect(deltas.map((delta) => delta.content ?? '').join('')).toBe('{"city":"Paris"}')
    expect(data.map(({ choices }) => choices[0]?.finish_reason).filter(Boolean)).toEqual(['stop'])
  })
})

describe('errors', () => {
  test.each([
    ['error.json', { status: 400, type: 'invalid_request_error', code: null }],
    ['error-too-long.json', { status: 400, code: 'context_length_exceeded' }],
    ['error-overloaded.json', { status: 529, type: 'api_error', code: 'overloaded' }],
    ['error-key.json', { status: 401, code: 'invalid_api_key' }],
  ])('%s', (name, expected) => {
    expect(openaiError(fixtureJson(`anthropic/${name}`))).toMatchObject(expected)
  })
})

describe('through the gateway', () => {
  let upstream: Upstream
  let harness: Harness
  afterEach(async () => {
    await harness?.close()
    await upstream?.close()
  })
  const serve = async (name: string, status = 200) => {
    upstream = await startUpstream(replyFixture(name, status))
    harness = await startHarness({
      origins: [upstream.origin],
      provider: { kind: 'anthropic' },
      retries: { max_attempts: 2 },
    })
  }

  test('headers: its own key header and version, no bearer', async () => {
    await serve('anthropic/plain.json')
    expect((await ask(harness.url)).status).toBe(200)
    const [{ headers, path } = { headers: {}, path: '' }] = upstream.requests
    expect(path).toBe('/v1/messages')
    expect(headers).toMatchObject({ 'x-api-key': 'sk-canary-provider-key', 'anthropic-version': '2023-06-01' })
    expect(headers).not.toHaveProperty('authorization')
  })

  test('the official OpenAI SDK assembles a streamed tool call', async () => {
    await serve('anthropic/tools.sse')
    const client = new OpenAI({ baseURL: harness.url, apiKey: 'x', maxRetries: 0 })
    const stream = client.chat.completions.stream({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }] })
    const final = await stream.finalChatCompletion()
    expect(final.choices[0]?.message.content).toBe("I'll look at both.")
    expect(final.choices[0]?.message.tool_calls).toMatchObject([
      { function: { name: 'get_weather', arguments: '{"city": "Paris"}' } },
      { function: { name: 'get_time', arguments: '{}' } },
    ])
    expect(final.usage).toBeUndefined()
    expect((await harness.settled(1))[0]?.outcome?.usage).toMatchObject({ promptTokens: 19, completionTokens: 89 })
  })

  test('an error larger than any that is of use is not read to its end', async () => {
    await serve('anthropic/error.json')
    const error = { type: 'invalid_request_error', message: 'no '.repeat(100_000) }
    upstream.play((exchange) => exchange.reply(400, { type: 'error', error }))
    const response = await ask(harness.url)
    expect(response.status).toBe(400)
    expect((await response.json()).error.message).not.toContain('no no')
  })

  test('overloaded (529), before and as the first event: tried again, then 503', async () => {
    for (const [name, stream, status] of [
      ['anthropic/error-overloaded.json', false, 529],
      ['anthropic/error-first.sse', true, 200],
    ] as const) {
      await serve(name, status)
      const response = await ask(harness.url, { stream })
      expect(response.status).toBe(503)
      expect(response.headers.get('x-should-retry')).toBe('false')
      expect(upstream.requests.length).toBe(2)
      await harness.close()
      await upstream.close()
    }
  })

  test('an error event mid-stream reaches the client as an error frame, without [DONE]', async () => {
    await serve('anthropic/error-later.sse')
    const text = await (await ask(harness.url, { stream: true })).text()
    expect(text).toContain('The capital')
    expect(text.trimEnd().split('\n\n').at(-1)).toContain('"error":{"')
    expect(text).not.toContain('[DONE]')
    expect((await harness.settled(1))[0]?.outcome).toMatchObject({ error: 'upstream', usageEstimated: true })
  })

  test('what it can not do is a 400 with param, and nothing is sent', async () => {
    await serve('anthropic/plain.json')
    const response = await ask(harness.url, { n: 2 })
    expect(response.status).toBe(400)
    expect((await response.json()).error).toMatchObject({ param: 'n', code: 'unsupported_parameter' })
    expect(upstream.requests.length).toBe(0)
  })
})
