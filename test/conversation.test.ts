import { expect, it } from 'vitest'
import { turnOf } from '../src/conversation.ts'

const user = (content: string) => ({ role: 'user', content })
const assistant = { role: 'assistant', content: 'yes' }

it('a conversation is recognised by its opening and its user', () => {
  const first = turnOf([user('a')], 'ada', null)
  const second = turnOf([user('a'), assistant, user('b')], 'ada', null)
  expect(second.key).toBe(first.key)
  expect(turnOf([user('a')], 'bob', null).key).not.toBe(first.key)
  expect(turnOf([{ role: 'system', content: 's' }, user('a')], 'ada', null).key).not.toBe(first.key)
  expect([first.continues, second.continues]).toEqual([false, true])
  expect(second.lastUserHash).toBe(turnOf([user('b')], 'ada', null).lastUserHash)
})

it('a named one by its name alone', () => {
  expect(turnOf([user('a')], 'ada', 'c1')).toMatchObject({ key: 'c1', continues: true })
})

it('a tool’s result at the end is a tool loop', () => {
  const tool = { role: 'tool', content: '42', tool_call_id: 't' }
  expect(turnOf([user('a'), assistant, tool], 'ada', null).toolLoop).toBe(true)
  expect(turnOf([user('a'), assistant, tool, assistant, user('b')], 'ada', null).toolLoop).toBe(false)
})
