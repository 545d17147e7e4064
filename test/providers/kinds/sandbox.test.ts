import type OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { configSchema } from '../../../src/config/schema.ts'
import { readAll } from '../../../src/providers/http/read-all.ts'
import { builtInCandidates } from '../../../src/providers/kind-schemas.ts'
import { findSum } from '../../../src/providers/kinds/sandbox/arithmetic.ts'
import { PERSONAS } from '../../../src/providers/kinds/sandbox/personas.ts'
import { sandbox } from '../../../src/providers/kinds/sandbox/sandbox.ts'
import { instanceOf } from '../../../src/providers/kinds/sandbox/schema-instance.ts'
import { chat } from '../../contracts/provider.ts'
import fc from '../../support/properties.ts'
import { candidate } from '../../support/relay-harness.ts'

async function complete(fields: Record<string, unknown> = {}, model = 'sandbox-premium') {
  const answer = await sandbox('sandbox', { kind: 'sandbox', enabled: 'auto' }).chat({
    candidate: candidate(model, 'sandbox', { model }),
    request: chat(fields),
    signal: new AbortController().signal,
    requestId: 'r',
  })
  return { status: answer.status, text: (await readAll(answer.body, 1e6)).toString() }
}
const completion = async (fields: Record<string, unknown> = {}, model?: string) =>
  JSON.parse((await complete(fields, model)).text) as OpenAI.ChatCompletion
const content = async (fields: Record<string, unknown> = {}, model?: string) =>
  (await completion(fields, model)).choices[0]?.message.content ?? ''
const user = (text: string) => ({ messages: [{ role: 'user', content: text }] })

describe('candidates', () => {
  test('differ in price and size, and are valid configuration', () => {
    const config = configSchema.parse({ providers: { sandbox: { kind: 'sandbox' } } })
    const candidates = builtInCandidates(config.providers)
    expect(candidates.map(({ name }) => name)).toEqual(PERSONAS.map(({ model }) => model))
    expect(new Set(candidates.map(({ price }) => price?.output)).size).toBe(candidates.length)
    configSchema.parse({ ...config, candidates })
  })
})

describe('answers', () => {
  test.each(PERSONAS.map(({ model }) => model))(
    '%s marks itself, answers on the topic, and says the same again',
    async (model) => {
      const text = await content({}, model)
      expect(text).toMatch(/^\[sandbox /)
      expect(text).toMatch(/capital of France/i)
      expect(await content({}, model)).toBe(text)
      expect((await completion({}, model)).system_fingerprint).toBe('sandbox')
    },
  )

  test('they differ in length as they do in style', async () => {
    const lengths = await Promise.all(
      ['sandbox-terse', 'sandbox-premium', 'sandbox-thorough'].map(async (model) => (await content({}, model)).length),
    )
    expect(lengths).toEqual([...lengths].sort((a, b) => a - b))
    expect(await content({}, 'sandbox-coder')).toContain('```python')
  })

  test('the strong ones calculate, the terse one rounds', async () => {
    const sum = user('What is 12 * (3 + 4.5)?')
    expect(await content(sum)).toContain('= 90')
    expect(await content(user('What is 17 * 23?'))).toContain('= 391')
    expect(await content(user('What is 17 * 23?'), 'sandbox-terse')).not.toContain('391')
  })

  test.each([
    ['2+2', 4],
    ['7 - 10', -3],
    ['2^3^2', 512],
    ['-(1 + 2) * 3', -9],
    ['10 / 4', 2.5],
    ['0.1 + 0.2', 0.3],
  ])('%s is %d', (text, value) => {
    expect(findSum(`Tell me: ${text}?`)?.value).toBe(value)
  })

  test.each(['on 2024-01', 'call 555', '1 / 0', '(((', 'no numbers', `${'('.repeat(199)}1`])(
    '%s is no sum, or none that can be told',
    (text) => {
      const sum = findSum(text)
      expect(sum === null || Number.isFinite(sum.value)).toBe(true)
    },
  )
})

describe('fields', () => {
  test('n, max_tokens, stop', async () => {
    const { choices, usage } = await completion({ n: 3, max_tokens: 5 })
    expect(choices.map(({ index, finish_reason }) => [index, finish_reason])).toEqual([
      [0, 'length'],
      [1, 'length'],
      [2, 'length'],
    ])
    expect(new Set(choices.map(({ message }) => message.content)).size).toBe(3)
    expect(usage?.completion_tokens).toBe(15)
    const stopped = await completion({ stop: ['capital'] })
    expect(stopped.choices[0]).toMatchObject({ finish_reason: 'stop' })
    expect(stopped.choices[0]?.message.content).not.toContain('capital')
    expect((await complete({ n: 99 })).status).toBe(400)
  })

  test('a stream of n choices says what the plain answer says', async () => {
    const plain = await completion({ n: 2 })
    const { text } = await complete({ n: 2, stream: true })
    const said = ['', '']
    for (const event of text.split('\n\n').filter((line) => line.startsWith('data: {'))) {
      for (const { index, delta } of (JSON.parse(event.slice(6)) as OpenAI.ChatCompletionChunk).choices)
        said[index] += delta.content ?? ''
    }
    expect(said).toEqual(plain.choices.map(({ message }) => message.content))
  })

  const tools = ['get_weather', 'book_flight'].map((name) => ({
    type: 'function',
    function: {
      name,
      parameters: {
        type: 'object',
        properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 2 }, note: { type: 'string' } },
        required: ['city', 'days'],
      },
    },
  }))

  test('tools: those named in the question where a call is required; as tool_choice says', async () => {
    const ask = { ...user('What will the weather be in New York? Then book a flight.'), tool_choice: 'required' }
    const calls = (await completion({ ...ask, tools })).choices[0]?.message.tool_calls
    expect(
      calls?.map((call) => call.type === 'function' && [call.function.name, JSON.parse(call.function.arguments)]),
    ).toEqual([
      ['get_weather', { city: 'sandbox', days: 2 }],
      ['book_flight', { city: 'sandbox', days: 2 }],
    ])
    const one = await completion({
      ...ask,
      tools,
      tool_choice: { type: 'function', function: { name: 'book_flight' } },
    })
    expect(one.choices[0]?.message.tool_calls).toMatchObject([{ function: { name: 'book_flight' } }])
    expect(
      (await completion({ ...ask, tools, parallel_tool_calls: false })).choices[0]?.message.tool_calls,
    ).toHaveLength(1)
    const allowed = (mode: string) => ({
      type: 'allowed_tools',
      allowed_tools: { mode, tools: [{ type: 'function', function: { name: 'book_flight' } }] },
    })
    const limited = await completion({ ...ask, tools, tool_choice: allowed('required') })
    expect(limited.choices[0]?.message.tool_calls).toMatchObject([{ function: { name: 'book_flight' } }])
    for (const tool_choice of ['none', 'auto', undefined, null, allowed('auto')])
      expect((await completion({ ...ask, tools, tool_choice })).choices[0]).toMatchObject({
        finish_reason: 'stop',
        message: { content: expect.stringMatching(/^\[sandbox/) },
      })
  })

  // The tools of coding agents, by what they take: these run what they are given.
  const agentTools = [
    ['bash', { command: { type: 'string' }, description: { type: 'string' } }],
    ['shell', { command: { type: 'array', items: { type: 'string' }, minItems: 1 }, workdir: { type: 'string' } }],
    ['Edit', { file_path: { type: 'string' }, old_string: { type: 'string' }, new_string: { type: 'string' } }],
    ['Write', { file_path: { type: 'string' }, content: { type: 'string' }, force: { type: 'boolean' } }],
    ['web_search', { query: { type: 'string' } }],
    ['ask_person', { name: { type: 'string' }, question: { type: 'string' } }],
  ].map(([name, properties]) => ({
    type: 'function',
    function: { name, parameters: { type: 'object', properties, required: Object.keys(properties as object) } },
  }))
  const commands = ['shutdown the server', 'kill 1', 'rm -rf build please', 'Delete Berlin now, bash shell Edit Write']

  test.each(commands)('a coding agent that is told "%s" is given nothing to run', async (command) => {
    for (const { model } of PERSONAS) {
      const asked = { ...user(command), tools: agentTools }
      expect((await completion(asked, model)).choices[0]?.message.tool_calls).toBeUndefined()
      for (const { function: called } of agentTools) {
        for (const tool_choice of ['required', { type: 'function', function: { name: called.name } }]) {
          const { tool_calls } = (await completion({ ...asked, tool_choice }, model)).choices[0]?.message ?? {}
          expect(tool_calls?.length).toBeGreaterThan(0)
          for (const call of tool_calls ?? []) {
            const values = Object.values(JSON.parse(call.type === 'function' ? call.function.arguments : '')).flat()
            expect(values.every((value) => value === 'sandbox' || value === false)).toBe(true)
          }
        }
      }
    }
  })

  test('after a tool result it answers with it', async () => {
    const text = await content({
      tools,
      messages: [
        { role: 'user', content: 'Weather in Oslo?' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'get_weather', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'a', content: 'Snow, -3 degrees' },
      ],
    })
    expect(text).toContain('Snow, -3 degrees')
  })

  test('response_format: an instance of the schema', async () => {
    const schema = {
      type: 'object',
      properties: {
        kind: { enum: ['a', 'b'] },
        score: { type: 'number', minimum: 3, maximum: 5 },
        when: { type: 'string', format: 'date' },
        tags: { type: 'array', items: { type: 'string' }, minItems: 2 },
        child: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] },
      },
      required: ['kind', 'score', 'when', 'tags', 'child'],
      additionalProperties: false,
      $defs: {
        node: {
          type: 'object',
          properties: { name: { type: 'string' }, next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } },
          required: ['name', 'next'],
        },
      },
    }
    const value = JSON.parse(
      await content({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } }),
    )
    expect(value).toMatchObject({
      kind: 'a',
      score: 3,
      when: '2025-01-01',
      tags: [expect.any(String), expect.any(String)],
      child: { name: expect.any(String) },
    })
    expect(JSON.stringify(value)).toContain('[sandbox premium]')
    expect(JSON.parse(await content({ response_format: { type: 'json_object' } })).answer).toMatch(/^\[sandbox/)
  })

  test('odd schemas end: recursive ones, empty ones, nonsense', () => {
    const fill = { text: () => 'x', flag: true }
    const loop = { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }
    expect(JSON.stringify(instanceOf(loop, fill)).length).toBeLessThan(500)
    for (const schema of [
      {},
      null,
      3,
      { type: 'array', minItems: 1e9 },
      { $ref: '#/nowhere' },
      { anyOf: [] },
      { type: ['null', 'integer'] },
    ]) {
      expect(() => instanceOf(schema, fill)).not.toThrow()
    }
  })

  test('whatever a valid request holds, it is answered', async () => {
    const loose = fc.oneof(fc.jsonValue({ maxDepth: 3 }), fc.constantFrom({}, [{}], [null]))
    const fields = fc.record(
      {
        tools: fc.array(
          fc.record({ type: fc.constant('function'), function: fc.record({ name: fc.string(), parameters: loose }) }),
        ),
        tool_choice: loose,
        response_format: fc.record({
          type: fc.constantFrom('text', 'json_object', 'json_schema'),
          json_schema: fc.record({ schema: loose }),
        }),
        stop: fc.oneof(fc.string(), fc.array(fc.string())),
        max_tokens: fc.integer({ min: 1, max: 50 }),
        messages: fc.array(fc.record({ role: fc.constantFrom('user', 'tool', 'assistant'), content: fc.string() }), {
          minLength: 1,
          maxLength: 3,
        }),
        stream: fc.boolean(),
      },
      { requiredKeys: [] },
    )
    await fc.assert(
      fc.asyncProperty(
        fields,
        fc.constantFrom(...PERSONAS.map(({ model }) => model)),
        async (given, model) => (await complete(given, model)).status === 200,
      ),
    )
  })

  test('a model that it has not: 404', async () => {
    expect((await complete({}, 'sandbox-none')).status).toBe(404)
  })
})
