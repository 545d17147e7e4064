import { expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/openai/chat.ts'
import { paired } from '../../../src/providers/dialect/pairs.ts'

const user: ChatMessage = { role: 'user', content: 'Hi' }
const calls = (...ids: string[]): ChatMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } })),
})
const result = (id: string, content = 'ok'): ChatMessage => ({ role: 'tool', tool_call_id: id, content })
const nameless = {
  ...user,
  ...calls('x'),
  tool_calls: [{ type: 'function', function: { name: 'f', arguments: '{}' } }],
}
const none = (id: string) => result(id, '(no result)')
const asSaid: ChatMessage = { role: 'user', content: 'What a tool returned:\nok' }

test.each<[string, ChatMessage[]]>([
  ['nothing is called', [user]],
  ['each call has a result', [user, calls('a', 'b'), result('b'), result('a')]],
  ['a result comes behind words', [user, calls('a', 'b'), result('a'), user, result('b')]],
  ['each turn counts anew', [user, calls('0'), result('0'), calls('0'), result('0'), user]],
  ['one turn calls twice by the same id', [user, calls('0', '0'), result('0'), result('0')]],
  ['neither names the other', [user, nameless, { role: 'tool', content: 'ok' }, { role: 'tool', content: 'ok' }]],
])('the very same messages where %s', (_, messages) => {
  expect(paired(messages)).toBe(messages)
})

test.each<[string, ChatMessage[], ChatMessage[]]>([
  ['a call at the end', [user, calls('a')], [user, calls('a'), none('a')]],
  ['one of two', [calls('a', 'b'), result('a'), user], [calls('a', 'b'), result('a'), none('b'), user]],
  ['a call whose result came before it', [result('a'), calls('a'), user], [asSaid, calls('a'), none('a'), user]],
  [
    'the later of two turns that count alike',
    [calls('0'), result('0'), calls('0'), user],
    [calls('0'), result('0'), calls('0'), none('0'), user],
  ],
  [
    'the earlier of two turns that count alike',
    [calls('0'), user, calls('0'), result('0')],
    [calls('0'), none('0'), user, calls('0'), result('0')],
  ],
  ['a call, by another id than the result', [calls('a'), result('b')], [calls('a'), none('a'), asSaid]],
])('%s has no result: it gets one', (_, messages, whole) => {
  const own = paired(messages)
  expect(own).toEqual(whole)
  expect(paired(own)).toBe(own)
})
