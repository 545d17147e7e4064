import { describe, expect, test } from 'vitest'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { Learned } from '../../../src/providers/dialect/learned.ts'
import { readRefusal } from '../../../src/providers/dialect/refusal.ts'

const FUNCTION = { type: 'function', function: { name: 'f', parameters: { type: 'array' } } }

function read(status: number, error: object | string, fields: object = {}) {
  const request = parseChat(
    Buffer.from(JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }], ...fields })),
  )
  const body = Buffer.from(typeof error === 'string' && error.startsWith('<') ? error : JSON.stringify({ error }))
  const failure = { kind: 'status', status, code: null, retryAfterMs: null, body, headers: {} } as const
  return readRefusal(failure, request)
}

test.each<[string, number, object | string, object, string[]]>([
  ['a field', 400, { message: "Unsupported parameter: 'seed'", param: 'seed' }, { seed: 1 }, ['seed']],
  [
    'several fields',
    400,
    { message: 'Model incompatible request arguments supplied: temperature, top_p' },
    { temperature: 0, top_p: 0.5, seed: 1 },
    ['temperature', 'top_p'],
  ],
  [
    'a type of tool',
    400,
    { message: "Tool 'custom' is not supported.", param: 'tools' },
    { tools: [FUNCTION, { type: 'custom' }] },
    ['tool:custom'],
  ],
  // One tool of one request is wrong: nothing is known of the next one's.
  [
    'a schema',
    400,
    { message: "Invalid schema for function 'f': 'oneOf' is not permitted.", param: 'tools[0].function.parameters' },
    { tools: [FUNCTION] },
    [],
  ],
  [
    'a schema of an answer',
    400,
    { message: "Invalid schema for response_format 'a'.", param: 'response_format' },
    { response_format: { type: 'json_schema', json_schema: {} } },
    [],
  ],
  ['tools at all', 400, { message: 'registry/tiny:latest does not support tools' }, { tools: [FUNCTION] }, ['tools']],
  [
    'vLLM without a parser',
    400,
    { message: '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set' },
    { tools: [FUNCTION] },
    ['tools'],
  ],
  [
    'a form of answer',
    400,
    { message: 'This model does not support response format `json_schema`.' },
    { response_format: { type: 'json_schema' } },
    ['response_format=json_schema'],
  ],
])('%s is refused', (_, status, error, fields, refused) => {
  expect(read(status, error, fields)).toMatchObject({ about: 'candidate', refused })
})

/** As providers word it: xAI, Together, Fireworks, Cerebras, OpenRouter, Perplexity, TGI, Cohere, Bedrock, vLLM … */
test.each<[string, 'candidate' | 'content' | 'model', string[], number, object | string, object?]>([
  ['a filter', 'content', [], 400, { message: 'The response was filtered', param: 'prompt', code: 'content_filter' }],
  [
    'camel case',
    'candidate',
    ['presence_penalty'],
    400,
    'Model grok-4 does not support parameter presencePenalty.',
    { presence_penalty: 1 },
  ],
  ['an ordinary word', 'candidate', ['stop'], 400, 'Argument not supported on this model: stop', { stop: ['x'] }],
  [
    'pydantic',
    'candidate',
    ['store'],
    400,
    { message: "Extra inputs are not permitted, field: 'store', value: True" },
    { store: true },
  ],
  [
    'a kind of error for a param',
    'candidate',
    ['message:name'],
    400,
    { message: "property 'messages.1.user.name' is unsupported", param: 'validation_error' },
    { messages: [{ role: 'user', name: 'ann', content: 'x' }] },
  ],
  [
    'another error within',
    'candidate',
    ['temperature'],
    400,
    {
      message: 'Provider returned error',
      metadata: { raw: `{"error":{"message":"Unsupported parameter: 'temperature'"}}` },
    },
    { temperature: 0.2 },
  ],
  ['one value', 'candidate', ['temperature=0'], 422, '`temperature` must be strictly positive', { temperature: 0 }],
  [
    'one of two',
    'candidate',
    ['top_p'],
    400,
    { message: '`temperature` and `top_p` cannot both be specified for this model.' },
    { temperature: 0.5, top_p: 0.5 },
  ],
  [
    'thoughts',
    'candidate',
    ['reasoning_effort'],
    400,
    { message: '"llama3" does not support thinking' },
    { reasoning_effort: 'low' },
  ],
  [
    'turns',
    'candidate',
    ['turns:alternate'],
    400,
    { message: 'Conversation roles must alternate user/assistant/user/assistant/...' },
  ],
  [
    'a stream',
    'candidate',
    ['stream'],
    400,
    { message: 'Your organization must be verified to stream this model.', param: 'stream' },
    { stream: true },
  ],
  [
    'system messages',
    'candidate',
    ['role:system'],
    400,
    { message: 'System role not supported' },
    {
      messages: [
        { role: 'system', content: 'x' },
        { role: 'user', content: 'y' },
      ],
    },
  ],
  [
    'a prefill',
    'candidate',
    ['prefill'],
    400,
    {
      message: 'This model does not support assistant message prefill. The conversation must end with a user message.',
    },
    {
      messages: [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: 'y' },
      ],
    },
  ],
  // How many images, not whether.
  [
    'too many images',
    'candidate',
    [],
    400,
    { message: 'Too many images in request. Max is 5.' },
    { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,x' } }] }] },
  ],
  [
    'a region',
    'model',
    [],
    400,
    { message: 'Invocation of model ID claude-x with on-demand throughput isn’t supported.' },
  ],
  ['a page', 'model', [], 404, '<html><h1>404 Not Found</h1></html>'],
  ['an odd status', 'candidate', [], 424, { message: 'failed dependency' }],
  ['no capacity', 'candidate', [], 498, { message: 'Flex tier capacity exceeded' }],
])('%s', (_, about, refused, status, error, fields = {}) => {
  expect(read(status, error, fields)).toMatchObject({ about, refused })
})

test.each<[string, object, string[], string[]]>([
  [
    'Reasoning is mandatory for this endpoint and cannot be disabled.',
    { reasoning: { enabled: false } },
    ['reasoning=off'],
    [],
  ],
  ['Reasoning is mandatory', { reasoning: { effort: 'none' }, seed: 1 }, ['reasoning=off'], []],
  ['thinking cannot be turned off', { thinking: { type: 'disabled' }, reasoning_effort: 'high' }, ['thinking=off'], []],
  ['thinking cannot be disabled', { enable_thinking: false }, ['enable_thinking=false'], []],
  ["`thinking.type` 'disabled' is not supported", { thinking: { type: 'disabled' } }, ['thinking=off'], []],
  ['`thinking` is not supported', { thinking: { type: 'disabled' } }, ['thinking'], ['thinking']],
  ['does not support thinking', { thinking: { type: 'disabled' } }, ['thinking'], ['thinking']],
])('%s: to think is still asked for', (message, fields, refused, kept) => {
  const refusal = read(400, { message }, fields)
  expect(refusal?.refused).toEqual(refused)
  const learned = new Learned(refusal?.refused ?? [])
  const body = { model: 'auto', messages: [] }
  for (const [field, value] of Object.entries(fields)) {
    const isOff = field !== 'seed' && value !== 'high'
    expect(learned.ruleFor(field, value, body)).toBe(isOff ? 'drop' : undefined)
  }
  const high = { reasoning: { effort: 'high' }, thinking: { type: 'enabled' }, enable_thinking: true }
  expect(
    Object.entries(high).flatMap(([field, value]) => (learned.ruleFor(field, value, body) ? [field] : [])),
  ).toEqual(kept)
})

describe('a length', () => {
  const long = { messages: [{ role: 'user', content: 'word '.repeat(4_000) }] }
  const said = { message: "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens." }

  test('of the prompt is kept', () => {
    expect(read(400, said, long)).toMatchObject({
      about: 'content',
      refused: [expect.stringMatching(/^tokens>=5\d{3}$/)],
    })
    expect(read(400, said, { ...long, max_tokens: 10 })).toMatchObject({
      refused: [expect.stringMatching(/^tokens>=/)],
    })
  })

  test('of prompt and answer together says nothing of the next prompt', () => {
    for (const message of [
      said.message,
      '`inputs` tokens + `max_new_tokens` must be <= 8193.',
      'input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000',
    ]) {
      expect(read(400, { message, param: 'max_tokens' }, { max_tokens: 9_000 })).toMatchObject({
        about: 'content',
        refused: [],
      })
    }
    expect(
      read(429, { message: 'Request too large: Limit 6000, Requested 30001' }, { max_tokens: 30_000 })?.refused,
    ).toEqual([])
  })
})

test.each([
  [400, { message: 'The encrypted content could not be verified.', code: 'invalid_encrypted_content' }],
  [400, { message: "Previous response with id 'resp_1' not found.", code: 'previous_response_not_found' }],
  [404, { message: "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false." }],
  [400, { message: "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'." }],
  [400, { message: 'messages.1.content.0: Invalid `signature` in `thinking` block' }],
])('%s %j is about this request: no model is missing, nothing is remembered', (status, error) => {
  expect(read(status, error)).toEqual({ about: 'content', refused: [], added: null })
})

describe('system messages', () => {
  const system = { role: 'system', content: 'x' }
  const user = { role: 'user', content: 'y' }
  const refused = (message: string, ...messages: object[]) => read(400, { message }, { messages })?.refused

  test.each([
    'System messages are not allowed after the first user message.',
    'System messages are not supported in the middle of a conversation',
    'system role is not permitted except at the beginning',
    'This model does not support system messages after user messages',
    'System messages are only allowed at the beginning of the conversation',
    'System message must be at the beginning.',
    'System messages must come first',
  ])('in another place: %s', (message) => {
    expect(refused(message, system, user, system, user)).toEqual(['turns:system'])
  })

  test.each([
    'System role not supported',
    'System role is not supported; the first message must be of the user',
    'System messages are not supported. Only user messages come after one another.',
  ])('at all: %s', (message) => {
    expect(refused(message, system, user, system, user)).toEqual(['role:system'])
  })

  test('one that stands first is in no other place', () => {
    expect(refused('System role is not supported as the first message', system, user)).toEqual(['role:system'])
  })
})
