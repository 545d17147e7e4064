import { describe, expect, it } from 'vitest'
import { queryText } from '../../src/embedding/query-text.ts'
import type { ChatMessage } from '../../src/openai/chat.ts'

const user = (content: unknown): ChatMessage => ({ role: 'user', content: content as string })
const assistant = (content: string | null): ChatMessage => ({ role: 'assistant', content })
const LONG = 'Explain how a suspension bridge carries its load to the ground.'

describe('queryText', () => {
  it.each<[string, ChatMessage[], string]>([
    [
      'the last user turn',
      [user('Tell me everything about rivers, please, in detail.'), assistant('…'), user(LONG)],
      LONG,
    ],
    ['no system prompt', [{ role: 'system', content: 'You are a pirate.' }, user(LONG)], LONG],
    ['a short turn with the one before', [user(LONG), assistant('It…'), user('Why?')], `${LONG}\nWhy?`],
    [
      'short turns back to a long one',
      [user('x'.repeat(99)), user(LONG), user('Why?'), user('Go on')],
      `${LONG}\nWhy?\nGo on`,
    ],
    ['a tool loop: still the question', [user(LONG), assistant(null), { role: 'tool', content: '{"ok":true}' }], LONG],
    [
      'text parts alone',
      [
        user([
          { type: 'text', text: 'What is' },
          { type: 'image_url', image_url: { url: 'data:…' } },
          { type: 'text', text: 'this?' },
        ]),
      ],
      'What is\nthis?',
    ],
    [
      'an image after a question',
      [user(LONG), assistant('…'), user([{ type: 'image_url', image_url: { url: 'data:…' } }])],
      LONG,
    ],
    [
      'no user turn: the last text',
      [
        { role: 'system', content: 'Summarise.' },
        { role: 'developer', content: [{ type: 'text', text: 'Now.' }] },
      ],
      'Now.',
    ],
    ['an image alone', [user([{ type: 'image_url', image_url: { url: 'data:…' } }])], ''],
    ['white space', [user('  \n')], ''],
    ['nothing', [], ''],
    ['odd parts', [user([null, 3, { type: 'text' }, { type: 'text', text: 'kept' }])], 'kept'],
  ])('%s', (_, messages, wanted) => {
    expect(queryText(messages)).toBe(wanted)
  })

  it('reads a chat of short turns back only so far', () => {
    const turns = Array.from({ length: 1000 }, (_, i) => user(`short turn ${i}`))
    const text = queryText(turns)
    expect(text.length).toBeGreaterThan(400)
    expect(text.length).toBeLessThan(450)
    expect(text.endsWith('short turn 998\nshort turn 999')).toBe(true)
  })

  it('keeps head and tail of a huge turn, also one of many parts', () => {
    const huge = `first ${'filler '.repeat(500_000)}last`
    const parts = Array.from({ length: 2000 }, (_, i) => ({ type: 'text', text: `${i} ${'filler '.repeat(50)}` }))
    for (const text of [
      queryText([user(huge)]),
      queryText([user([{ type: 'text', text: 'first' }, ...parts, { type: 'text', text: 'last' }])]),
    ]) {
      expect(text.length).toBeLessThan(10_000)
      expect(text.startsWith('first')).toBe(true)
      expect(text.endsWith('last')).toBe(true)
    }
  })
})
