import type { Body } from './emulator.ts'
import type { Call, Message, Part } from './rules.ts'

export type Request = Body & { messages: Message[] }

export const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
export const GIF = 'R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs='
export const PDF = 'JVBERi0xLjQKJSVFT0YK'

export const WORDS = [
  'the harbour',
  'a proof',
  'Grüße',
  '世界',
  'x = 1',
  'why?',
  '\n\tcode()\n',
  '🌍',
  '"quoted"',
  'tea',
]
export const SCHEMAS: Record<string, unknown>[] = [
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
  // As pydantic and zod write them.
  {
    type: 'object',
    properties: { place: { $ref: '#/$defs/Place' }, to: { type: ['string', 'null'] } },
    $defs: { Place: { type: 'object', properties: { lat: { type: 'number' }, next: { $ref: '#/$defs/Place' } } } },
  },
  {
    type: 'object',
    properties: {
      level: { type: 'integer', enum: [1, 2, 3] },
      when: { type: 'string', format: 'date' },
      mail: { type: 'string', format: 'email', default: 'a@b.c' },
      map: { type: 'object', additionalProperties: { type: 'number' } },
      // Names that are keywords elsewhere.
      format: { type: 'string' },
      const: { type: 'boolean' },
    },
  },
]
export const STRICT = {
  type: 'object',
  properties: { ok: { type: 'boolean' } },
  required: ['ok'],
  additionalProperties: false,
}
/** For answers in a schema, where nothing says that it must be strict. */
export const ANSWERS: Record<string, unknown>[] = [
  STRICT,
  { type: 'object', properties: { n: { type: 'integer', minimum: 1 } } },
  { type: 'object', properties: { a: { type: 'array', items: STRICT, minItems: 2, maxItems: 4 } }, required: ['a'] },
  { type: 'object', properties: { map: { type: 'object', additionalProperties: { type: 'string' } } } },
  {
    type: 'object',
    properties: { x: { anyOf: [STRICT, { type: 'null' }] }, 'a-b c': { type: 'string', pattern: '^x' } },
  },
]
const GRAMMAR = { type: 'grammar', grammar: { syntax: 'lark', definition: 'start: "a" | "b"' } }

/** Where a message of the history may come from: ids and thoughts as each vendor makes them. */
export const MAKERS: readonly {
  id: (n: number) => string
  thoughts?: Record<string, unknown>
  ofCall?: Record<string, unknown>
}[] = [
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
  // LiteLLM, Qwen, GitHub's Copilot.
  {
    id: (n) => `chatcmpl-tool-${n}f00d`,
    thoughts: {
      thinking_blocks: [{ type: 'thinking', thinking: 'hm', signature: 'claude-sig' }],
      provider_specific_fields: { citations: null },
    },
  },
  { id: (n) => `${n}`, thoughts: { reasoning_text: 'hm', reasoning_opaque: 'b64' } },
]

/** What a request is about beside text: of these only a few models take each, so that it has one. */
const KINDS = [
  ...Array.from({ length: 14 }, () => 'plain' as const),
  'audio in',
  'audio out',
  'search',
  'functions',
  'custom tools',
  'prediction',
] as const

/**
 * A random request that OpenAI's API reference allows, and that at least one of its models takes: every parameter,
 * role, part and shape of tools, with a history as other models leave it.
 */
export function anyRequest(random: () => number): Request {
  const below = (n: number) => Math.floor(random() * n)
  const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T
  const chance = (p: number) => random() < p
  const text = () => Array.from({ length: 1 + below(4) }, () => pick(WORDS)).join(' ')
  const texts = (): string | Part[] =>
    chance(0.8) ? text() : Array.from({ length: 1 + below(2) }, () => ({ type: 'text', text: text() }))

  const kind = pick(KINDS)
  const request: Request = { model: 'auto', messages: [] }
  const { messages } = request
  if (chance(0.4)) messages.push({ role: pick(['system', 'developer']), content: texts() })
  if (chance(0.1)) messages.push({ role: 'system', content: pick(['\n', text()]) })

  const names = ['read', 'get_weather', 'search-web', '3d_render'].slice(0, 1 + below(chance(0.1) ? 4 : 3))
  const wantsTools = kind === 'custom tools' || (kind === 'plain' && chance(0.45))
  const userParts = (): Part[] => {
    const parts: Part[] = [{ type: 'text', text: text() }]
    if (kind === 'audio in')
      parts.push({ type: 'input_audio', input_audio: { data: 'UklGRiQAAABXQVZF', format: pick(['wav', 'mp3']) } })
    else if (chance(0.4)) {
      const url = pick([
        `data:image/png;base64,${PNG}`,
        `data:image/jpeg;base64,${PNG}`,
        `data:image/gif;base64,${GIF}`,
        'https://example.com/a.png',
      ])
      parts.push({ type: 'image_url', image_url: { url, ...(chance(0.3) && { detail: 'low' }) } })
    }
    const file = { filename: 'a.pdf', file_data: `data:application/pdf;base64,${PDF}` }
    if (kind === 'plain' && chance(0.1))
      parts.push({ type: 'file', file: chance(0.8) ? file : { file_id: 'file-abc123' } })
    return chance(0.9) ? parts : parts.toReversed()
  }
  const user = (): Message => ({
    role: 'user',
    content: kind === 'audio in' || chance(0.25) ? userParts() : chance(0.03) ? pick(['', ' \n']) : text(),
    ...(chance(0.08) && { name: 'ann' }),
  })
  messages.push(user())
  let calls = 0
  for (let turn = below(4); turn > 0; turn--) {
    const maker = pick(MAKERS)
    const isCustom = kind === 'custom tools' && chance(0.5)
    if (kind === 'functions' && chance(0.6)) {
      messages.push({ role: 'assistant', content: null, function_call: { name: 'read', arguments: '{}' } })
      messages.push({ role: 'function', name: 'read', content: text() })
    } else if (wantsTools && chance(0.6)) {
      const made: Call[] = Array.from({ length: maker.id(1) === maker.id(2) ? 1 : 1 + below(3) }, () => {
        const id = maker.id(calls++ % 10)
        if (isCustom) return { id, type: 'custom', custom: { name: 'shell', input: 'ls' } }
        const args = pick(['{}', '{"city":"Rome"}', '{"n":2}', '{"a":{"b":[1,null]}}'])
        return { id, type: 'function', function: { name: pick(names), arguments: args }, ...maker.ofCall }
      })
      const isLong = made.some(({ id }) => id.length > 40)
      for (const call of made) if (isLong) call.id = call.id.slice(0, 39) + calls
      const content = pick([null, '', '\n\n', text(), undefined])
      messages.push({
        role: 'assistant',
        ...(content !== undefined && { content }),
        tool_calls: made,
        ...(chance(0.8) && maker.thoughts),
        ...(chance(0.3) && { refusal: null, annotations: [] }),
      })
      for (const call of chance(0.5) ? made : made.toReversed()) {
        const result = pick([text(), ' ', '', '{"ok":true}', [{ type: 'text', text: text() }]])
        messages.push({ role: 'tool', tool_call_id: call.id, content: result })
      }
      if (chance(0.4)) continue
    }
    const said: Message = {
      role: 'assistant',
      content: chance(0.85) ? text() : [{ type: 'text', text: text() }],
      ...(chance(0.3) && maker.thoughts),
      ...(chance(0.3) && { refusal: null }),
      ...(chance(0.04) && { name: 'helper' }),
    }
    if (chance(0.05)) said.content = [{ type: 'refusal', refusal: 'No.' }]
    if (chance(0.04)) Object.assign(said, { content: null, refusal: 'I must not.' })
    if (kind === 'audio out' && chance(0.3)) Object.assign(said, { content: null, audio: { id: 'audio_abc' } })
    messages.push(said)
    // Reminders and results that frameworks put in between.
    if (chance(0.08)) messages.push({ role: pick(['system', 'developer']), content: text() })
    messages.push(user())
    if (chance(0.05)) messages.push(user())
  }

  const hasCalls = messages.some((message) => message.tool_calls)
  if (wantsTools || hasCalls) offerTools(request, kind === 'custom tools', names, { chance, pick, text })
  else if (chance(0.02))
    Object.assign(request, pick([{ tools: [] }, { tool_choice: 'none' }, { tools: [], tool_choice: 'auto' }]))
  if (kind === 'functions') {
    request.functions = [{ name: 'read', description: text(), parameters: pick(SCHEMAS) }]
    if (chance(0.5)) request.function_call = pick(['auto', 'none', { name: 'read' }])
  }
  if (kind === 'audio out') {
    request.modalities = ['text', 'audio']
    request.audio = { voice: 'alloy', format: 'pcm16' }
  } else if (chance(0.05)) request.modalities = ['text']
  if (kind === 'search') request.web_search_options = pick([{}, { search_context_size: 'low' }])
  if (kind === 'prediction') request.prediction = { type: 'content', content: text() }
  const sets: [number, string, () => unknown][] = [
    [0.3, 'temperature', () => pick([0, 0.2, 0.7, 1, 1.3, 2])],
    [0.15, 'top_p', () => pick([0.1, 0.9, 1])],
    [0.3, chance(0.5) ? 'max_tokens' : 'max_completion_tokens', () => pick([16, 1000, 4096, 12_000])],
    [0.1, 'stop', () => pick(['END', ['a', 'b'], ['\n'], ['1', '2', '3', '4'], null])],
    [0.1, 'seed', () => below(1000)],
    [0.1, 'presence_penalty', () => pick([0, 0.5, -1])],
    [0.1, 'frequency_penalty', () => pick([0, 0.5])],
    [0.06, 'logit_bias', () => pick([{ 50256: -100 }, {}, null])],
    [0.06, 'n', () => pick([1, 2, 3])],
    [0.06, 'logprobs', () => chance(0.7)],
    [
      0.15,
      'response_format',
      () => {
        const isStrict = chance(0.5)
        const json_schema = { name: 'a', schema: isStrict ? STRICT : pick(ANSWERS), ...(isStrict && { strict: true }) }
        return pick([{ type: 'text' }, { type: 'json_object' }, { type: 'json_schema', json_schema }])
      },
    ],
    [0.15, 'reasoning_effort', () => pick(['none', 'minimal', 'low', 'medium', 'high', 'xhigh'])],
    [0.08, 'verbosity', () => pick(['low', 'medium', 'high'])],
    [0.08, 'service_tier', () => pick(['auto', 'default', 'flex'])],
    [0.1, 'store', () => chance(0.5)],
    [0.1, 'metadata', () => pick([{ team: 'a' }, {}])],
    [0.15, 'user', () => 'u-1'],
    [0.15, 'safety_identifier', () => 's-1'],
    [0.1, 'prompt_cache_key', () => 'k-1'],
    [0.05, 'prompt_cache_retention', () => pick(['in_memory', '24h'])],
    // Not documented, and not refused by all: what other vendors' clients send along.
    [0.03, pick(['top_k', 'min_p', 'repetition_penalty']), () => 1],
    [0.03, pick(['enable_thinking', 'include_reasoning', 'x_note']), () => true],
  ]
  for (const [p, field, value] of sets) if (chance(p)) request[field] = value()
  if (request.logprobs === true && chance(0.5)) request.top_logprobs = 2
  if ((request.response_format as { type?: string })?.type === 'json_object')
    messages.unshift({ role: 'system', content: 'Answer in json.' })
  if (chance(0.4)) request.stream = true
  if (request.stream && chance(0.4))
    request.stream_options = { include_usage: chance(0.8), ...(chance(0.2) && { include_obfuscation: false }) }
  return request
}

interface Draw {
  chance(p: number): boolean
  pick<T>(items: readonly T[]): T
  text(): string
}

function offerTools(
  request: Request,
  hasCustom: boolean,
  names: readonly string[],
  { chance, pick, text }: Draw,
): void {
  request.tools = names.map((name) => {
    const strict = chance(0.2)
    const description = chance(0.8) ? { description: text() } : {}
    const parameters = strict ? { parameters: STRICT, strict } : chance(0.95) ? { parameters: pick(SCHEMAS) } : {}
    return { type: 'function', function: { name, ...description, ...parameters } }
  })
  const custom = { type: 'custom', custom: { name: 'shell', ...(chance(0.5) && { format: GRAMMAR }) } }
  if (hasCustom) (request.tools as unknown[]).push(custom)
  const one = { type: 'function', function: { name: names[0] } }
  const allowed = { mode: pick(['auto', 'required']), tools: [one] }
  if (chance(0.35))
    request.tool_choice = pick([
      'auto',
      'none',
      'required',
      one,
      { type: 'allowed_tools', allowed_tools: allowed },
      ...(hasCustom ? [{ type: 'custom', custom: { name: 'shell' } }] : []),
    ])
  if (chance(0.2)) request.parallel_tool_calls = chance(0.5)
}
