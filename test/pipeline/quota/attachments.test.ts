import { describe, expect, it, test } from 'vitest'
import type { ChatRequest } from '../../../src/openai/chat.ts'
import { attachedTo } from '../../../src/pipeline/quota/attachments.ts'

const attached = (body: object, asGiven?: unknown) =>
  attachedTo({ body: { model: 'auto', messages: [], ...body }, asGiven } as unknown as ChatRequest)
const FILE = 100_000
const DATA = 'A'.repeat(400_000)

describe('what a request in another format has beside its texts', () => {
  it('is a file by id or address, each once however deep in lists', () => {
    const source = { type: 'file', file_id: 'file_1' }
    const document = { type: 'document', source }
    expect(attached({}, { messages: [{ content: [document] }] }).tokens).toBe(FILE)
    expect(attached({}, { messages: [{ content: [{ type: 'tool_result', content: [document] }] }] }).tokens).toBe(FILE)
    expect(attached({}, { items: [[{ type: 'input_file', file_url: 'https://example.com/a.pdf' }]] }).tokens).toBe(FILE)
    const output = [{ type: 'input_file', file_id: 'file_1' }]
    expect(attached({}, { items: [{ type: 'function_call_output', output }] }).tokens).toBe(FILE)
  })

  it('takes as long as it is large, however deep it is', () => {
    let deep: unknown = { type: 'input_file', file_id: 'file_1' }
    for (let i = 0; i < 60; i++) deep = [deep]
    expect(attached({}, deep).tokens).toBe(FILE)
  })

  test.each([
    ['arguments of a call', { type: 'tool_use', input: { file_id: 'a', url: 'https://example.com', type: 'url' } }],
    [
      'places of a search',
      { type: 'web_search_call', action: { sources: [{ type: 'url', url: 'https://a.example' }] } },
    ],
    ['finds of a search', { type: 'file_search_call', results: [{ file_id: 'file_1', text: 'a' }] }],
    ['citations', { type: 'text', citations: [{ type: 'char_location', file_id: 'file_1' }] }],
    ['annotations', { type: 'output_text', annotations: [{ type: 'file_path', file_id: 'file_1' }] }],
    ['files that code wrote', { type: 'code_execution_output', file_id: 'file_1' }],
    ['a type that is none', { type: { toString: 1, valueOf: 1 } }],
  ])('is not %s', (_, block) => {
    expect(attached({}, { messages: [{ content: [block] }] }).tokens).toBe(0)
  })

  test.each([
    ['that was made', { type: 'image_generation_call', result: DATA }],
    ['of a screen', { type: 'computer_call_output', output: { type: 'computer_screenshot', image_url: DATA } }],
  ])('is a picture %s', (_, item) => {
    const { mediaChars, ...counted } = attached({}, { items: [item] })
    expect(counted).toMatchObject({ tokens: 1_200, pictures: 1 })
    expect(mediaChars).toBe(DATA.length)
  })
})

test.each([
  ['of a chat', [{ type: 'web_search' }], undefined],
  ['of another format', [], { tools: [{ type: 'web_search_20250305', name: 'a' }] }],
  ['of an aggregator', [{ type: 'openrouter:web_search' }], undefined],
])('what a tool %s finds that the provider runs is as long as a file', (_, tools, asGiven) => {
  expect(attached({ tools }, asGiven).most).toBe(FILE)
  expect(attached({ tools }, asGiven).tokens).toBe(0)
})

test('a sound is at most as long as it can be pressed', () => {
  const of = (data: string) =>
    attached({ messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: { data } }] }] }).most
  expect(of(DATA)).toBe(10_000)
  expect(of(`UklGR${DATA}`)).toBe(1_251)
})

test.each([
  [{ detail: 'original' }, true],
  [{ detail: 'high' }, false],
])('a picture with %j is in all details: %s', (more, isInDetail) => {
  const part = { type: 'image_url', image_url: { url: 'https://example.com/a.png', ...more } }
  expect(attached({ messages: [{ role: 'user', content: [part] }] })).toMatchObject({ pictures: 1, isInDetail })
})

describe('what a model answered, and comes back', () => {
  it('counts as the picture or the sound that it is, not as a text', () => {
    const images = [{ type: 'image_url', image_url: { url: `data:image/png;base64,${DATA}` } }]
    expect(attached({ messages: [{ role: 'assistant', content: 'a', images }] })).toMatchObject({
      tokens: 1_200,
      pictures: 1,
    })
    const audio = { id: 'audio_1', data: DATA }
    expect(attached({ messages: [{ role: 'assistant', content: null, audio }] }).tokens).toBeLessThan(1_010)
  })

  it('counts as a text where it is one', () => {
    const of = (fields: object) => attached({ messages: [{ role: 'assistant', content: 'a', ...fields }] }).tokens
    expect(of({ images: [DATA] })).toBeGreaterThan(FILE)
    expect(of({ audio: { id: 'a', transcript: DATA } })).toBeGreaterThanOrEqual(FILE)
  })
})
