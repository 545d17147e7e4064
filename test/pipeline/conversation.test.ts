import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { describe, expect, it, vi } from 'vitest'
import type { ChatMessage } from '../../src/openai/chat.ts'
import { Conversations, turnOf } from '../../src/pipeline/conversation.ts'
import type { ConversationState, Store } from '../../src/store/store.ts'

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

it('a named conversation is recognised by its name alone', () => {
  expect(turnOf([user('a')], 'ada', 'c1')).toMatchObject({ key: 'c1', continues: true })
})

it('a later turn stays found when an earlier one has been stored', async () => {
  const store = { loadConversation: async () => null, saveConversation: async () => null } as unknown as Store
  const conversations = new Conversations(store, () => undefined)
  const turn = turnOf([user('a')], 'ada', 'c1')
  const [first, second] = [{ messages: 1 } as ConversationState, { messages: 3 } as ConversationState]
  conversations.note('t', turn, first)
  conversations.note('t', turn, second)
  await conversations.save('t', turn, first)
  expect(await conversations.load('t', 'c1')).toBe(second)
  expect(await conversations.load('other', 'c1')).toBeNull()
  await conversations.save('t', turn, second)
  expect(await conversations.load('t', 'c1')).toBeNull()
})

it('a tool’s result at the end means a tool loop', () => {
  const tool = { role: 'tool', content: '42', tool_call_id: 't' }
  expect(turnOf([user('a'), assistant, tool], 'ada', null).toolLoop).toBe(true)
  expect(turnOf([user('a'), assistant, tool, assistant, user('b')], 'ada', null).toolLoop).toBe(false)
})

describe('long texts', () => {
  const SIZE = 4_000_000
  const said = (content: ChatMessage['content']) => turnOf([{ role: 'user', content: content ?? null }], 'ada', null)
  const image = (url: string) => said([{ type: 'image_url', image_url: { url } }])

  it('are told apart by their ends, their length and their middle', () => {
    const text = 'a'.repeat(SIZE)
    const others = [`b${text.slice(1)}`, `${text.slice(1)}b`, `${text}a`, text.slice(0, SIZE / 2).padEnd(SIZE, 'b')]
    const turns = [text, ...others].flatMap((content) => [said(content), image(content)])
    expect(new Set(turns.map(({ key }) => key)).size).toBe(turns.length)
    expect(new Set(turns.map(({ lastUserHash }) => lastUserHash)).size).toBe(turns.length)
    expect(said(text)).toEqual(said('a'.repeat(SIZE)))
    expect(said(text).lastUserChars).toBe(SIZE)
  })

  // Written as JSON, one costs 50 ns.
  it('of lone surrogates cost no more than others', () => {
    const stringify = vi.spyOn(JSON, 'stringify')
    const hash = vi.spyOn(crypto, 'hash')
    syncBuiltinESMExports()
    said('\ud83d'.repeat(SIZE))
    const hashed = hash.mock.calls.map(([, data]) => String(data).length)
    expect(stringify).not.toHaveBeenCalled()
    vi.restoreAllMocks()
    syncBuiltinESMExports()
    expect(hashed).toHaveLength(2)
    expect(Math.max(...hashed)).toBeLessThan(10_000)
  })

  it('that are many are told apart by how each begins, ends and how long it is', () => {
    const hash = vi.spyOn(crypto, 'hash')
    syncBuiltinESMExports()
    const parts = (change: (text: string, i: number) => string = (text) => text) =>
      said(
        Array.from({ length: 10_000 }, (_, i) => ({ type: 'text', text: change(`${i} ${'a'.repeat(1_600)} ${i}`, i) })),
      )
    const all = parts()
    const others = [
      parts((text, i) => (i === 9 ? text.replace('aaa', 'aba') : text)),
      parts((text, i) => (i === 9_000 ? `b${text.slice(1)}` : text)),
      parts((text, i) => (i === 9_000 ? `${text.slice(0, -1)}b` : text)),
      parts((text, i) => (i === 9_000 ? text.replace('aaa', 'aa') : text)),
    ]
    const hashed = hash.mock.calls.map(([, data]) => String(data).length)
    vi.restoreAllMocks()
    syncBuiltinESMExports()
    expect(new Set([all, ...others].map(({ lastUserHash }) => lastUserHash)).size).toBe(5)
    expect(parts()).toEqual(all)
    expect(all.lastUserChars).toBeGreaterThan(16_000_000)
    expect(Math.max(...hashed)).toBeLessThan(1_200_000)
  })
})
