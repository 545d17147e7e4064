import { expect, test } from 'vitest'
import { completionOfStream, streamOfCompletion } from '../../src/openai/convert-stream.ts'

const chunk = (delta: object, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason }],
})
const call = (index: number | undefined, id: string | undefined, name: string | undefined, args: unknown) => ({
  ...(index !== undefined && { index }),
  ...(id !== undefined && { id, type: 'function' }),
  function: { ...(name !== undefined && { name }), arguments: args },
})

interface Choice {
  message: { tool_calls: unknown[] }
  finish_reason: string
}

function whole(chunks: object[], isForced = false) {
  const text = [...chunks.map((one) => `data: ${JSON.stringify(one)}`), 'data: [DONE]'].join('\n\n')
  const { completion } = completionOfStream(Buffer.from(text), { isForced }) as { completion: { choices: Choice[] } }
  const { message, finish_reason } = completion.choices[0] as Choice
  return { calls: message.tool_calls, finish_reason }
}

const look = (id: string, args: string) => ({ id, type: 'function', function: { name: 'look', arguments: args } })

test.each([
  ['their places', [call(0, 'a', 'look', '{"n"'), call(0, undefined, undefined, ':1}'), call(1, 'b', 'look', '{}')]],
  ['one place', [call(0, 'a', 'look', '{"n"'), call(0, undefined, undefined, ':1}'), call(0, 'b', 'look', '{}')]],
  ['no place', [call(undefined, 'a', 'look', '{"n":1}'), call(undefined, 'b', 'look', '{}')]],
  ['places from one', [call(1, 'a', 'look', '{"n":1}'), call(2, 'b', 'look', '{}')]],
  ['objects', [call(0, 'a', 'look', { n: 1 }), call(1, 'b', 'look', {})]],
])('calls at %s stay apart', (_, pieces) => {
  const chunks = [...pieces.map((piece) => chunk({ tool_calls: [piece] })), chunk({}, 'stop')]
  expect(whole(chunks)).toEqual({ calls: [look('a', '{"n":1}'), look('b', '{}')], finish_reason: 'tool_calls' })
  expect(whole(chunks, true).finish_reason).toBe('stop')
  // All at once.
  expect(whole([chunk({ tool_calls: pieces }, 'stop')]).calls).toEqual([look('a', '{"n":1}'), look('b', '{}')])
})

test('custom calls, and what a model ties to a call, are kept', () => {
  const chunks = [
    chunk({ tool_calls: [{ index: 0, id: 'a', type: 'custom', custom: { name: 'shell', input: 'l' } }] }),
    chunk({ tool_calls: [{ index: 0, custom: { input: 's' } }] }),
    chunk({ tool_calls: [{ index: 1, ...look('b', '{}'), extra_content: { signed: 'x' } }] }),
    chunk({}, 'tool_calls'),
  ]
  expect(whole(chunks).calls).toEqual([
    { id: 'a', type: 'custom', custom: { name: 'shell', input: 'ls' } },
    { ...look('b', '{}'), extra_content: { signed: 'x' } },
  ])
})

test('a call that has no id gets one', () => {
  const { calls } = whole([chunk({ tool_calls: [{ function: { name: 'look', arguments: '{}' } }] }, 'tool_calls')])
  expect(calls).toMatchObject([{ id: expect.stringMatching(/^call_/), type: 'function' }])
})

test('a long answer is a stream of small chunks, none of which ends within a character, and says the same', () => {
  const text = `a${'\u{1F600}'.repeat(40_000)}`
  const args = JSON.stringify({ text })
  const message = { role: 'assistant', content: text, reasoning_content: text, tool_calls: [look('a', args)] }
  const completion = { id: 'c', choices: [{ index: 0, message, logprobs: null, finish_reason: 'tool_calls' }] }
  const stream = streamOfCompletion({ ...completion, usage: { total_tokens: 1 } })
  const events = stream.toString().split('\n\n')
  expect(Math.max(...events.map(({ length }) => length))).toBeLessThan(60_000)
  expect(stream.toString()).not.toMatch(/\\ud[89a-f]/)
  expect(completionOfStream(stream)).toEqual({
    completion: { ...completion, object: 'chat.completion', usage: { total_tokens: 1 } },
  })
})

test('what clients may not join, such as a signature, is told in one piece', () => {
  const signature = 's'.repeat(40_000)
  const message = { role: 'assistant', content: 'Hi', signature }
  const stream = streamOfCompletion({ id: 'c', choices: [{ index: 0, message, finish_reason: 'stop' }] })
  expect(stream.toString()).toContain(JSON.stringify({ signature }).slice(1, -1))
})
