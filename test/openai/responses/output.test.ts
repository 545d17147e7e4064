import { describe, expect, test } from 'vitest'
import { Output, type OutputEvent } from '../../../src/openai/responses/output.ts'
import { responseOf } from '../../../src/openai/responses/plain.ts'
import { resourceOf } from '../../../src/openai/responses/resource.ts'
import { ResponseStream } from '../../../src/openai/responses/stream.ts'
import { chatTools } from '../../../src/openai/responses/tools.ts'
import { frame } from '../../../src/openai/sse.ts'
import { NO_USAGE } from '../../../src/openai/usage.ts'
import fc from '../../support/properties.ts'
import { expectStream, type Json, readEvents } from '../../support/responses-spec.ts'

const ID = 'resp_00000000-0000-4000-8000-000000000000'
const options = {
  response: ID,
  named: (name: string) => ({ name, isCustom: name === 'shell' }),
  seal: (thoughts: unknown) => JSON.stringify(thoughts),
}
const body = { model: 'one', input: 'x' }
const create = (head: { model: string; createdAt: number }) =>
  resourceOf(body, chatTools(body), true, { ...head, id: ID, store: true })

/** The items of these deltas, and the types of the events that tell of them. */
function outputOf(...deltas: Json[]) {
  const events: OutputEvent[] = []
  const output = new Output(options, (event) => events.push(JSON.parse(JSON.stringify(event))))
  for (const delta of deltas) output.take(delta, null)
  output.end(false)
  return { items: output.items as Json[], types: events.map(({ type }) => type.replace('response.', '')), events }
}

const call = (index: number | undefined, fields: Json) => ({
  tool_calls: [{ ...(index !== undefined && { index }), ...fields }],
})

describe('tool calls', () => {
  test('in pieces, one after the other', () => {
    const { items } = outputOf(
      call(0, { id: 'a', function: { name: 'f', arguments: '{"x"' } }),
      call(0, { function: { arguments: ':1}' } }),
      call(1, { id: 'b', function: { name: 'g', arguments: '' } }),
    )
    expect(items).toMatchObject([
      { type: 'function_call', call_id: 'a', name: 'f', arguments: '{"x":1}', status: 'completed' },
      { type: 'function_call', call_id: 'b', name: 'g', arguments: '{}', status: 'completed' },
    ])
  })

  test.each([
    ['all with the index 0', [0, 0]],
    ['without an index', [undefined, undefined]],
  ])('%s are told apart by their ids', (_, [one, two]) => {
    const { items } = outputOf(
      call(one, { id: 'a', function: { name: 'f', arguments: '{}' } }),
      call(two, { id: 'b', function: { name: 'f', arguments: '{"y":2}' } }),
    )
    expect(items.map(({ call_id, arguments: args }) => [call_id, args])).toEqual([
      ['a', '{}'],
      ['b', '{"y":2}'],
    ])
  })

  test('without an id get one; whole objects as arguments are text', () => {
    const { items } = outputOf(call(0, { function: { name: 'f', arguments: { x: 1 } } }))
    expect(items[0]).toMatchObject({ call_id: expect.stringMatching(/^call_/), arguments: '{"x":1}' })
  })

  test('several in one message', () => {
    const { items } = outputOf({
      tool_calls: [
        { id: 'a', function: { name: 'f', arguments: '{}' } },
        { id: 'b', function: { name: 'g', arguments: '{}' } },
      ],
    })
    expect(items.map(({ name }) => name)).toEqual(['f', 'g'])
  })

  test('one that goes on after another has begun is an error, not a loss', () => {
    expect(() =>
      outputOf(
        call(0, { id: 'a', function: { name: 'f', arguments: '{' } }),
        call(1, { id: 'b', function: { name: 'g', arguments: '{' } }),
        call(0, { function: { arguments: '}' } }),
      ),
    ).toThrow(/tool call/)
  })

  test.each([
    ['{"input":"ls -la"}', 'ls -la'],
    ['ls -la', 'ls -la'],
    ['{"command":"ls"}', '{"command":"ls"}'],
    ['', ''],
  ])('of a custom tool hold text: %s', (args, input) => {
    const { items, types } = outputOf(call(0, { id: 'a', function: { name: 'shell', arguments: args } }))
    expect(items).toMatchObject([{ type: 'custom_tool_call', call_id: 'a', name: 'shell', input, status: 'completed' }])
    expect(types).toContain('custom_tool_call_input.done')
  })
})

describe('thoughts', () => {
  test('come before the answer, in a summary; both names for them are known', () => {
    for (const field of ['reasoning_content', 'reasoning']) {
      const { items, types } = outputOf({ [field]: 'Let ' }, { [field]: 'me think.' }, { content: 'Yes.' })
      expect(items).toMatchObject([
        { type: 'reasoning', summary: [{ type: 'summary_text', text: 'Let me think.' }] },
        { type: 'message', content: [{ text: 'Yes.' }] },
      ])
      expect(types.slice(0, 7)).toEqual([
        'output_item.added',
        'reasoning_summary_part.added',
        'reasoning_summary_text.delta',
        'reasoning_summary_text.delta',
        'reasoning_summary_text.done',
        'reasoning_summary_part.done',
        'output_item.done',
      ])
    }
  })

  test('details that come in pieces are one, and say nothing twice', () => {
    const { items } = outputOf(
      { reasoning: 'Let ', reasoning_details: [{ type: 'reasoning.text', text: 'Let ', index: 0 }] },
      { reasoning: 'me.', reasoning_details: [{ type: 'reasoning.text', text: 'me.', index: 0, signature: 's' }] },
      { reasoning_details: [{ type: 'reasoning.encrypted', data: 'x', index: 1 }] },
    )
    expect(JSON.parse(items[0]?.encrypted_content)).toEqual({
      reasoning_content: 'Let me.',
      reasoning_details: [
        { type: 'reasoning.text', text: 'Let me.', index: 0, signature: 's' },
        { type: 'reasoning.encrypted', data: 'x', index: 1 },
      ],
    })
  })

  test('that nobody can read have no summary, and are sealed', () => {
    const { items } = outputOf({ reasoning_details: [{ type: 'reasoning.encrypted', data: 'x' }] }, { content: 'Yes.' })
    expect(items[0]).toMatchObject({ type: 'reasoning', summary: [], encrypted_content: expect.stringContaining('x') })
  })

  test('between two answers are items of their own', () => {
    const { items } = outputOf({ content: 'A' }, { reasoning: 'b' }, { content: 'C' })
    expect(items.map(({ type }) => type)).toEqual(['message', 'reasoning', 'message'])
  })
})

describe('messages', () => {
  test('one that says nothing is there, and empty', () => {
    expect(outputOf({ role: 'assistant', content: '' }).items).toMatchObject([
      { type: 'message', content: [{ type: 'output_text', text: '', annotations: [] }] },
    ])
  })

  test('a refusal is a part of its own', () => {
    const { items, types } = outputOf({ content: 'I ' }, { refusal: 'can ' }, { refusal: 'not.' })
    expect(items[0]?.content).toMatchObject([
      { type: 'output_text', text: 'I ' },
      { type: 'refusal', refusal: 'can not.' },
    ])
    expect(types.filter((type) => type === 'refusal.delta')).toHaveLength(2)
    expect(types).toContain('refusal.done')
  })

  test('annotations are flat, and told one by one', () => {
    const { items, events } = outputOf(
      { content: 'See here.' },
      {
        annotations: [
          {
            type: 'url_citation',
            url_citation: { url: 'https://a.example', title: 'A', start_index: 0, end_index: 3 },
          },
        ],
      },
    )
    const annotation = { type: 'url_citation', url: 'https://a.example', title: 'A', start_index: 0, end_index: 3 }
    expect(items[0]?.content[0].annotations).toEqual([annotation])
    expect(events.find(({ type }) => type.endsWith('annotation.added'))).toMatchObject({
      annotation_index: 0,
      annotation,
    })
  })

  test('log probabilities come with the text', () => {
    const events: OutputEvent[] = []
    const output = new Output(options, (event) => events.push(event))
    const given = {
      token: 'Hi',
      logprob: -0.1,
      bytes: [72, 105],
      top_logprobs: [{ token: 'Ho', logprob: -2, bytes: null }],
    }
    output.take({ content: 'Hi' }, { content: [given] })
    output.end(false)
    const expected = [{ ...given, top_logprobs: [{ token: 'Ho', logprob: -2, bytes: [] }] }]
    expect(output.items[0]?.content).toMatchObject([{ logprobs: expected }])
    expect(events.find(({ type }) => type === 'response.output_text.delta')).toMatchObject({ logprobs: expected })
  })
})

test.each([
  ['stop', 'completed', null],
  ['tool_calls', 'completed', null],
  ['length', 'incomplete', { reason: 'max_output_tokens' }],
  ['content_filter', 'incomplete', { reason: 'content_filter' }],
])('finish %s is %s', (finish_reason, status, incomplete_details) => {
  const completion = { choices: [{ message: { content: 'x' }, finish_reason }] }
  const response = responseOf(completion, create, options, NO_USAGE)
  expect(response).toMatchObject({ status, incomplete_details })
  expect(response.completed_at === null).toBe(status === 'incomplete')
})

test('a refusal is a whole answer, whatever its provider calls the end', () => {
  const completion = { choices: [{ message: { content: null, refusal: 'No.' }, finish_reason: 'content_filter' }] }
  expect(responseOf(completion, create, options, NO_USAGE)).toMatchObject({ status: 'completed' })
})

const delta = fc.oneof(
  fc.record({ content: fc.string() }),
  fc.record({ reasoning_content: fc.string() }),
  fc.record({ refusal: fc.string() }),
  fc.record({ content: fc.constant(null), role: fc.constant('assistant') }),
)

test('whatever is said in whatever pieces of bytes, the stream keeps to the specification and adds up to the same items', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(delta, { maxLength: 8 }), fc.integer({ min: 1, max: 40 }), async (deltas, size) => {
      const stream = new ResponseStream({
        ...options,
        create,
        usage: () => NO_USAGE,
        finishReason: () => 'stop',
        keep: async () => true,
      })
      const bytes = Buffer.concat(
        deltas.map((one) => frame({ model: 'one', created: 1, choices: [{ index: 0, delta: one }] })),
      )
      const sent: Buffer[] = []
      for (let at = 0; at < bytes.length; at += size) {
        const out = stream.push(bytes.subarray(at, at + size))
        if (out) sent.push(out)
      }
      sent.push((await stream.end()) as Buffer)
      const response = expectStream(readEvents(Buffer.concat(sent).toString()))
      const direct = new Output(options)
      for (const one of deltas) direct.take(one, null)
      direct.end(false)
      expect(response.output).toEqual(JSON.parse(JSON.stringify(direct.items)))
    }),
    { numRuns: 60 },
  )
})
