import { expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/openai/chat.ts'
import { turnsFor } from '../../../src/providers/dialect/turns.ts'

const user = (content: NonNullable<ChatMessage['content']> | null): ChatMessage => ({ role: 'user', content })
const system = (content: NonNullable<ChatMessage['content']> | null): ChatMessage => ({ role: 'system', content })
const said = (content: NonNullable<ChatMessage['content']> | null, more = {}): ChatMessage => ({
  role: 'assistant',
  content,
  ...more,
})
const text = (...texts: string[]) => texts.map((one) => ({ type: 'text', text: one }))
const call = { tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }] }
const tool: ChatMessage = { role: 'tool', tool_call_id: 'a', content: 'ok' }

test('nothing to change: the very same messages', () => {
  const messages = [system('x'), user('a'), said('b'), user('c')]
  const all: Parameters<typeof turnsFor>[1] = {
    system: 'first',
    alternate: true,
    blank: 'drop',
    one_text: ['user'],
    needs_content: true,
  }
  expect(turnsFor(messages, all)).toBe(messages)
  expect(turnsFor(messages, {})).toBe(messages)
})

test('system messages come first, as one', () => {
  expect(turnsFor([user('a'), system('x'), said('b'), system(text('y'))], { system: 'first' })).toEqual([
    { role: 'system', content: [...text('x'), ...text('y')] },
    user('a'),
    said('b'),
  ])
  expect(turnsFor([system('x'), system('y'), user('a')], { system: 'first' })).toEqual([system('x\n\ny'), user('a')])
})

test('neighbours of one role become one message; calls and results stay', () => {
  const image = { type: 'image_url', image_url: { url: 'https://x.example/a.png' } }
  expect(turnsFor([user('a'), user([image]), said('b'), said('c')], { alternate: true })).toEqual([
    user([...text('a'), image]),
    said('b\n\nc'),
  ])
  const loop = [user('a'), said(null, call), tool, { ...tool, tool_call_id: 'b' }]
  expect(turnsFor(loop, { alternate: true })).toBe(loop)
})

test('messages that say nothing are left out, calls and results are not', () => {
  const loop = [user('a'), said('\n\n', call), { ...tool, content: '' }]
  expect(turnsFor([user(' '), said(null), said([]), ...loop], { blank: 'drop' })).toEqual(loop)
})

test('text parts become one text in some roles, and content is there beside calls', () => {
  const { content: _, ...bare } = said(null, call)
  expect(
    turnsFor([system(text('x', 'y')), user(text('a')), bare], { one_text: ['system'], needs_content: true }),
  ).toEqual([system('x\n\ny'), user(text('a')), { ...bare, content: '' }])
})

test('many neighbours are joined at once, in the words that two of them would be', () => {
  const many = 8_000
  const long = 'x'.repeat(2_000)
  const [one] = turnsFor(
    Array.from({ length: many }, () => user(long)),
    { alternate: true },
  )
  expect(String(one?.content).length).toBe(many * 2_002 - 2)
  expect(turnsFor([user('a'), user(''), user('b'), user(text('c')), user('d')], { alternate: true })).toEqual([
    user(text('a\n\nb', 'c', 'd')),
  ])
  expect(turnsFor([user(null), user('a')], { alternate: true })).toEqual([user(text('a'))])
})
