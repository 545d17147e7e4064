import { expect, test } from 'vitest'
import { call } from './clients.ts'
import type { RunningGateway } from './gateway.ts'
import { expectResponse, expectStream, type Json, readEvents } from './responses-spec.ts'

/** What only some models can do. */
type Ability = 'vision' | 'files' | 'forced tools' | 'schemas'

/** One answer, and what came with it. */
export interface Answer {
  response: Json
  headers: Headers
}

type Ask = (body: Json) => Promise<Answer>

interface Case {
  name: string
  needs?: Ability[]
  /** The request; earlier ones may be made to come to it. */
  body: Json | ((ask: Ask) => Promise<Json>)
  check?: (answer: Answer) => void
}

const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const PDF = `data:application/pdf;base64,${Buffer.from('%PDF-1.4\n%%EOF').toString('base64')}`

const weather = {
  type: 'function',
  name: 'get_weather',
  description: 'The weather of a city.',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
}

const user = (text: string) => ({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] })

export const textOf = ({ output }: Json): string =>
  output
    .flatMap(({ content }: Json) => content ?? [])
    .map(({ text }: Json) => text ?? '')
    .join('')

/** At least twelve ideas of the public compliance tests, and what real clients were seen to send. */
const CASES: Case[] = [
  { name: 'a string', body: { input: 'Say hello.' }, check: ({ response }) => expect(textOf(response)).toMatch(/\S/) },
  {
    name: 'instructions, and messages with and without a type, of every role',
    body: {
      instructions: 'You are brief.',
      input: [
        { role: 'developer', content: 'Answer in English.' },
        { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'Be kind.' }] },
        { role: 'user', content: 'Hi' },
        { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Hello!', annotations: [] }] },
        user('What is the capital of France?'),
      ],
    },
    check: ({ response }) => expect(response.instructions).toBe('You are brief.'),
  },
  {
    name: 'a refusal and plain text in an assistant’s turns',
    body: {
      input: [
        user('How do I pick a lock?'),
        { role: 'assistant', content: [{ type: 'refusal', refusal: 'I can not help with that.' }] },
        user('Then tell me of locks.'),
        { role: 'assistant', content: 'They keep doors shut.' },
        user('Go on.'),
      ],
    },
  },
  {
    name: 'nulls, empty objects and unknown fields',
    body: {
      input: 'Say hello.',
      instructions: null,
      previous_response_id: null,
      conversation: null,
      background: null,
      include: null,
      metadata: {},
      text: {},
      reasoning: {},
      tools: null,
      tool_choice: null,
      temperature: null,
      top_p: null,
      user: null,
      truncation: null,
      client_metadata: { session_id: 'one' },
    },
    check: ({ response }) =>
      expect(response).toMatchObject({
        metadata: {},
        tools: [],
        tool_choice: 'auto',
        text: { format: { type: 'text' } },
      }),
  },
  {
    name: 'a bound that the answer does not fit into',
    body: { input: 'Write three long sentences about the sea.', max_output_tokens: 3 },
    check: ({ response }) =>
      expect(response).toMatchObject({
        status: 'incomplete',
        completed_at: null,
        max_output_tokens: 3,
        incomplete_details: { reason: 'max_output_tokens' },
        output: [{ status: 'incomplete' }],
      }),
  },
  {
    name: 'a function that must be called',
    needs: ['forced tools'],
    body: { input: 'What is the weather in Paris?', tools: [weather], tool_choice: 'required' },
    check: ({ response }) => {
      expect(response.output.at(-1)).toMatchObject({ type: 'function_call', name: 'get_weather', status: 'completed' })
      expect(Object.keys(JSON.parse(response.output.at(-1).arguments))).toEqual(['city'])
      expect(response.tools).toEqual([{ ...weather, strict: null }])
      expect(response.tool_choice).toBe('required')
    },
  },
  {
    name: 'a named function among several, one call at most',
    needs: ['forced tools'],
    body: {
      input: 'What is the weather in Paris?',
      tools: [{ ...weather, name: 'get_time', description: null, strict: true }, weather],
      tool_choice: { type: 'function', name: 'get_weather' },
      parallel_tool_calls: false,
    },
    check: ({ response }) => {
      expect(response.output.filter(({ type }: Json) => type === 'function_call')).toHaveLength(1)
      expect(response.output.at(-1).name).toBe('get_weather')
      expect(response.parallel_tool_calls).toBe(false)
    },
  },
  {
    name: 'allowed tools',
    needs: ['forced tools'],
    body: {
      input: 'What is the weather in Paris?',
      tools: [{ ...weather, name: 'delete_all' }, weather],
      tool_choice: { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'get_weather' }] },
    },
    check: ({ response }) =>
      expect(response.output.at(-1)).toMatchObject({ type: 'function_call', name: 'get_weather' }),
  },
  {
    name: 'a call and its result',
    body: {
      input: [
        user('What is the weather in Paris?'),
        { type: 'function_call', call_id: 'call_1', name: 'get_weather', arguments: '{"city":"Paris"}' },
        { type: 'function_call_output', call_id: 'call_1', output: '{"celsius":21}' },
      ],
      tools: [weather],
    },
    check: ({ response }) => expect(response.output.at(-1).type).toBe('message'),
  },
  {
    name: 'two calls at once, results in parts, with ids and states',
    body: {
      input: [
        user('What is the weather in Paris and Rome?'),
        { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'nobody-can-open-this' },
        { type: 'function_call', id: 'fc_1', call_id: 'a', name: 'get_weather', arguments: '{}', status: 'completed' },
        { type: 'function_call', id: 'fc_2', call_id: 'b', name: 'get_weather', arguments: '{}', status: 'completed' },
        { type: 'function_call_output', call_id: 'a', output: [{ type: 'input_text', text: 'sunny' }] },
        { type: 'function_call_output', call_id: 'b', output: [{ type: 'input_text', text: 'rain' }], status: null },
      ],
      tools: [weather],
    },
  },
  {
    name: 'hosted tools, which no model here has',
    body: {
      input: 'Say hello.',
      tools: [{ type: 'web_search' }, { type: 'namespace', name: 'crm', description: '', tools: [weather] }, weather],
      tool_choice: 'auto',
    },
    check: ({ response, headers }) => {
      expect(response.tools.map(({ name }: Json) => name)).toEqual(['crm__get_weather', 'get_weather'])
      expect(headers.get('x-router-dropped')).toBe('tools.web_search')
    },
  },
  {
    name: 'a tool of a namespace, chosen by name',
    needs: ['forced tools'],
    body: {
      input: 'What is the weather in Paris?',
      tools: [{ type: 'namespace', name: 'crm', description: 'Customers.', tools: [weather] }],
      tool_choice: { type: 'function', name: 'get_weather', namespace: 'crm' },
    },
    check: ({ response }) => {
      const called = response.output.find(({ type }: Json) => type === 'function_call')
      expect(called).toMatchObject({ name: 'get_weather', namespace: 'crm' })
    },
  },
  {
    name: 'a hosted tool alone, chosen by name',
    body: { input: 'Say hello.', tools: [{ type: 'web_search' }], tool_choice: { type: 'web_search' } },
    check: ({ response }) => expect(response).toMatchObject({ tools: [], tool_choice: 'auto' }),
  },
  {
    name: 'an image',
    needs: ['vision'],
    body: {
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'What is in this picture?' },
            { type: 'input_image', image_url: PIXEL, detail: 'low' },
          ],
        },
      ],
    },
  },
  {
    name: 'a file',
    needs: ['files'],
    body: {
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_file', filename: 'empty.pdf', file_data: PDF },
            { type: 'input_text', text: 'What does the file say?' },
          ],
        },
      ],
    },
  },
  {
    name: 'a schema for the answer',
    needs: ['schemas'],
    body: {
      input: 'What is the capital of France?',
      max_output_tokens: 400,
      text: {
        verbosity: 'low',
        format: {
          type: 'json_schema',
          name: 'capital',
          strict: true,
          schema: {
            type: 'object',
            properties: { answer: { type: 'string' } },
            required: ['answer'],
            additionalProperties: false,
          },
        },
      },
    },
    check: ({ response }) => {
      expect(Object.keys(JSON.parse(textOf(response)))).toEqual(['answer'])
      expect(response.text.format).toMatchObject({ type: 'json_schema', name: 'capital', strict: true })
    },
  },
  {
    name: 'any JSON',
    body: { input: 'Name a colour, as JSON.', text: { format: { type: 'json_object' } } },
    check: ({ response }) => expect(response.text.format).toEqual({ type: 'json_object' }),
  },
  {
    name: 'what the answer repeats of the request',
    body: {
      input: 'Say hello.',
      metadata: { run: '7' },
      temperature: 0.2,
      top_p: 0.9,
      max_tool_calls: 3,
      store: false,
      prompt_cache_key: 'key',
      safety_identifier: 'someone',
      reasoning: { effort: 'low', summary: 'auto' },
      include: ['reasoning.encrypted_content'],
    },
    check: ({ response }) =>
      expect(response).toMatchObject({
        metadata: { run: '7' },
        temperature: 0.2,
        top_p: 0.9,
        max_tool_calls: 3,
        store: false,
        background: false,
        prompt_cache_key: 'key',
        safety_identifier: 'someone',
        previous_response_id: null,
        truncation: 'disabled',
      }),
  },
  {
    name: 'a response before it',
    body: async (ask) => {
      const { response } = await ask({ input: 'My name is Ada.' })
      expect(response.store).toBe(true)
      return { input: 'What is my name?', previous_response_id: response.id }
    },
    check: ({ response }) => expect(response.previous_response_id).toMatch(/^resp_/),
  },
  {
    name: 'references to items of an answer before it',
    body: async (ask) => {
      const { response } = await ask({ input: 'My name is Ada.' })
      return {
        input: [
          user('My name is Ada.'),
          ...response.output.map(({ id }: Json) => ({ type: 'item_reference', id })),
          user('What is my name?'),
        ],
      }
    },
  },
]

export interface Suite {
  gateway: () => RunningGateway
  model?: string
  lacks?: readonly Ability[]
  timeoutMs?: number
  /** Fields for requests that do not have them: a small model does not know where to stop. */
  defaults?: Json
}

/** Runs every case that the models can serve, streamed and not, and checks each byte of shape that comes back. */
export function conformance({ gateway, model = 'auto', lacks = [], timeoutMs = 30_000, defaults = {} }: Suite): void {
  const served = CASES.filter(({ needs }) => !needs?.some((ability) => lacks.includes(ability)))

  test('covers enough', () => expect(served.length).toBeGreaterThanOrEqual(12))

  const ask: Ask = async (body) => {
    const answer = await call(gateway(), '/v1/responses', { user: 'ann', body: { model, ...defaults, ...body } })
    const text = await answer.text()
    expect(answer.status, text).toBe(200)
    const response = JSON.parse(text)
    expectResponse(response)
    return { response, headers: answer.headers }
  }

  const stream: Ask = async (body) => {
    const answer = await call(gateway(), '/v1/responses', {
      user: 'ann',
      body: { model, ...defaults, ...body, stream: true },
    })
    const text = await answer.text()
    expect(answer.status, text).toBe(200)
    expect(answer.headers.get('content-type')).toMatch(/^text\/event-stream/)
    return { response: expectStream(readEvents(text)), headers: answer.headers }
  }

  for (const [how, send] of [
    ['whole', ask],
    ['streamed', stream],
  ] as const) {
    test.each(served)(`$name, ${how}`, { timeout: timeoutMs }, async ({ body, check }) => {
      const answer = await send(typeof body === 'function' ? await body(ask) : body)
      expect(answer.headers.get('x-request-id')!.replace('req_', 'resp_')).toBe(answer.response.id)
      check?.(answer)
    })
  }
}
