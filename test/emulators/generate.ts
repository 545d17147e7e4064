import type { Call, Message, Part } from './rules.ts'

export type Request = Record<string, unknown> & { messages: Message[]; stream?: boolean }

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
const GIF = 'R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs='
const PDF = 'JVBERi0xLjQKJSVFT0YK'

const WORDS = ['the harbour', 'a proof', 'Grüße', '世界', 'x = 1', 'why?', '\n\tcode()\n', '🌍', '"quoted"', 'tea']
const SCHEMAS: Record<string, unknown>[] = [
  { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
  {
    type: 'object',
    properties: {
      n: { type: 'integer', minimum: 1, maximum: 9 },
      tags: { type: 'array', items: { type: 'string' }, maxItems: 3 },
    },
  },
  {
    $schema: 'http://json-schema.org/draft-07/schema#',
    type: 'object',
    properties: { unit: { enum: ['C', 'F'] }, kind: { const: 'now' } },
  },
  { type: 'object', properties: { at: { anyOf: [{ type: 'string' }, { type: 'null' }] } } },
  { type: 'object', properties: {} },
  {},
]
const STRICT = {
  type: 'object',
  properties: { ok: { type: 'boolean' } },
  required: ['ok'],
  additionalProperties: false,
}

/** Where a message of the history may come from: ids and thoughts as each vendor makes them. */
const MAKERS: { id: (n: number) => string; thoughts?: Record<string, unknown>; ofCall?: Record<string, unknown> }[] = [
  { id: (n) => `call_${'aB3dE5gH7jK9mN1pQ3rS5tU7'.slice(0, 22)}${n}` },
  {
    id: (n) => `toolu_01${n}abcDEF`,
    thoughts: {
      reasoning_content: 'hm',
      reasoning_details: [
        { type: 'reasoning.text', text: 'hm', signature: 'claude-sig', format: 'anthropic-claude-v1', index: 0 },
      ],
    },
  },
  {
    id: (n) => `toolu_02${n}`,
    thoughts: { reasoning_details: [{ type: 'reasoning.encrypted', data: 'claude-redacted', index: 0 }] },
  },
  { id: (n) => `aB3dE5g${n}${n}` },
  { id: (n) => `functions.read:${n}` },
  { id: () => 'call_0' },
  {
    id: (n) => `function-call-1234567890123456${n}`,
    ofCall: { extra_content: { google: { thought_signature: 'sig' } } },
  },
  { id: (n) => `call_0_${n}`, thoughts: { reasoning_content: 'so' } },
  {
    id: (n) => `tool_${n}_with_a_very_long_id_that_no_one_would_think_of`,
    thoughts: {
      reasoning: 'x',
      reasoning_details: [{ type: 'reasoning.encrypted', data: 'zz', format: 'openai-responses-v1' }],
    },
  },
]

/**
 * A random request that OpenAI's API reference allows, and that at least one of its models takes: every parameter,
 * role, part and shape of tools, with a history as other models leave it.
 */
export function anyRequest(random: () => number): Request {
  const below = (n: number) => Math.floor(random() * n)
  const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T
  const chance = (p: number) => random() < p
  const text = () => Array.from({ length: 1 + below(4) }, () => pick(WORDS)).join(' ')

  const request: Request = { model: 'auto', messages: [] }
  const { messages } = request
  if (chance(0.4))
    messages.push({
      role: pick(['system', 'developer']),
      content: chance(0.8) ? text() : [{ type: 'text', text: text() }],
    })
  if (chance(0.1)) messages.push({ role: 'system', content: pick(['\n', text()]) })

  const names = ['read', 'get_weather', 'search-web'].slice(0, 1 + below(3))
  const wantsTools = chance(0.45)
  const userParts = (): Part[] => {
    const parts: Part[] = [{ type: 'text', text: text() }]
    if (chance(0.4))
      parts.push({
        type: 'image_url',
        image_url: {
          url: pick([
            `data:image/png;base64,${PNG}`,
            `data:image/jpeg;base64,${PNG}`,
            `data:image/gif;base64,${GIF}`,
            'https://example.com/a.png',
          ]),
          ...(chance(0.3) && { detail: 'low' }),
        },
      })
    if (chance(0.1))
      parts.push({ type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${PDF}` } })
    return parts
  }
  const user = (): Message => ({
    role: 'user',
    content: chance(0.75) ? text() : userParts(),
    ...(chance(0.08) && { name: 'ann' }),
  })
  messages.push(user())
  let calls = 0
  for (let turn = below(4); turn > 0; turn--) {
    const maker = pick(MAKERS)
    if (wantsTools && chance(0.6)) {
      const made: Call[] = Array.from({ length: maker.id(1) === maker.id(2) ? 1 : 1 + below(2) }, () => ({
        id: maker.id(calls++ % 10),
        type: 'function',
        function: { name: pick(names), arguments: pick(['{}', '{"city":"Rome"}', '{"n":2}']) },
        ...maker.ofCall,
      }))
      const isLong = made.some(({ id }) => id.length > 40)
      for (const call of made) if (isLong) call.id = call.id.slice(0, 39) + calls
      messages.push({
        role: 'assistant',
        content: pick([null, '', '\n\n', text()]),
        tool_calls: made,
        ...(chance(0.8) && maker.thoughts),
        ...(chance(0.3) && { refusal: null, annotations: [] }),
      })
      for (const call of chance(0.5) ? made : made.toReversed())
        messages.push({ role: 'tool', tool_call_id: call.id, content: pick([text(), ' ', '{"ok":true}']) })
      if (chance(0.4)) continue
    }
    const said: Message = {
      role: 'assistant',
      content: chance(0.85) ? text() : [{ type: 'text', text: text() }],
      ...(chance(0.3) && maker.thoughts),
      ...(chance(0.3) && { refusal: null }),
    }
    if (chance(0.05)) said.content = [{ type: 'refusal', refusal: 'No.' }]
    messages.push(said, user())
  }

  const hasCalls = messages.some((message) => message.tool_calls)
  if (wantsTools || hasCalls) {
    request.tools = names.map((name) => {
      const strict = chance(0.2)
      return {
        type: 'function',
        function: {
          name,
          ...(chance(0.8) && { description: text() }),
          parameters: strict ? STRICT : pick(SCHEMAS),
          ...(strict && { strict }),
        },
      }
    })
    if (chance(0.3))
      request.tool_choice = pick(['auto', 'none', 'required', { type: 'function', function: { name: names[0] } }])
    if (chance(0.2)) request.parallel_tool_calls = chance(0.5)
  }
  const sets: [number, string, () => unknown][] = [
    [0.3, 'temperature', () => pick([0, 0.2, 0.7, 1, 1.3, 2])],
    [0.15, 'top_p', () => pick([0.1, 0.9, 1])],
    [0.3, chance(0.5) ? 'max_tokens' : 'max_completion_tokens', () => pick([16, 1000, 4096, 12_000])],
    [0.1, 'stop', () => pick(['END', ['a', 'b'], ['\n'], ['1', '2', '3', '4']])],
    [0.1, 'seed', () => below(1000)],
    [0.1, 'presence_penalty', () => pick([0, 0.5, -1])],
    [0.1, 'frequency_penalty', () => pick([0, 0.5])],
    [0.06, 'logit_bias', () => ({ 50256: -100 })],
    [0.06, 'n', () => pick([1, 2])],
    [0.06, 'logprobs', () => chance(0.7)],
    [
      0.15,
      'response_format',
      () =>
        pick([
          { type: 'text' },
          { type: 'json_object' },
          { type: 'json_schema', json_schema: { name: 'a', schema: STRICT, strict: true } },
        ]),
    ],
    [0.15, 'reasoning_effort', () => pick(['minimal', 'low', 'medium', 'high'])],
    [0.08, 'verbosity', () => pick(['low', 'medium', 'high'])],
    [0.08, 'service_tier', () => pick(['auto', 'default', 'flex'])],
    [0.1, 'store', () => chance(0.5)],
    [0.1, 'metadata', () => ({ team: 'a' })],
    [0.15, 'user', () => 'u-1'],
    [0.15, 'safety_identifier', () => 's-1'],
    [0.1, 'prompt_cache_key', () => 'k-1'],
    [0.05, 'prediction', () => ({ type: 'content', content: 'x' })],
  ]
  for (const [p, field, value] of sets) if (chance(p)) request[field] = value()
  if (request.logprobs === true && chance(0.5)) request.top_logprobs = 2
  if ((request.response_format as { type?: string })?.type === 'json_object')
    messages.unshift({ role: 'system', content: 'Answer in json.' })
  if (chance(0.4)) request.stream = true
  if (request.stream && chance(0.4)) request.stream_options = { include_usage: chance(0.8) }
  return feasible(request)
}

/** Combinations that no model of OpenAI's takes together are taken apart. */
function feasible(request: Request): Request {
  // Reasoning and what needs a model without it.
  const plain = ['logprobs', 'top_logprobs', 'stop', 'prediction']
  if (plain.some((field) => field in request)) delete request.reasoning_effort
  return request
}
