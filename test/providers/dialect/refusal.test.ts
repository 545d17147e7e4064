import { expect, test } from 'vitest'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { readRefusal } from '../../../src/providers/dialect/refusal.ts'

const FUNCTION = { type: 'function', function: { name: 'f', parameters: { type: 'array' } } }

function read(status: number, error: object | string, fields: object = {}) {
  const request = parseChat(
    Buffer.from(JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }], ...fields })),
  )
  const body = Buffer.from(typeof error === 'string' ? error : JSON.stringify({ error }))
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

test.each([
  [400, { message: 'The encrypted content could not be verified.', code: 'invalid_encrypted_content' }],
  [400, { message: "Previous response with id 'resp_1' not found.", code: 'previous_response_not_found' }],
  [404, { message: "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false." }],
  [400, { message: "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'." }],
  [400, { message: 'messages.1.content.0: Invalid `signature` in `thinking` block' }],
])('%s %j is about this request: no model is missing, nothing is remembered', (status, error) => {
  expect(read(status, error)).toEqual({ about: 'content', refused: [], added: null })
})
