import { expect, test } from 'vitest'
import type { ChatMessage } from '../../../src/openai/chat.ts'
import { translateIds } from '../../../src/providers/dialect/tool-ids.ts'

const calls = (...ids: string[]): ChatMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } })),
})
const result = (id: string): ChatMessage => ({ role: 'tool', tool_call_id: id, content: 'ok' })

const idsOf = (messages: readonly ChatMessage[]) =>
  messages.flatMap(({ tool_calls, tool_call_id }) =>
    tool_calls ? (tool_calls as { id: string }[]).map(({ id }) => id) : [tool_call_id as string],
  )

const NINE = { pattern: /^[a-zA-Z0-9]{9}$/, length: 9, unique: true }

test('ids that fit stay; others become the same each time, and results keep to their calls', () => {
  const fits = [calls('abcdefgh1'), result('abcdefgh1')]
  expect(translateIds(fits, NINE)).toBe(fits)
  const odd = [calls('call_1', 'call_2'), result('call_2'), result('call_1')]
  const [first, second, ...results] = idsOf(translateIds(odd, NINE))
  expect([first, second].every((id) => NINE.pattern.test(String(id)))).toBe(true)
  expect(results).toEqual([second, first])
  expect(translateIds(odd, NINE)).toEqual(translateIds(odd, NINE))
})

test('the ids that were given before are given still, so that prompt caches hold', () => {
  const twice = [calls('call_1'), result('call_1'), calls('call_1', 'abcdefgh1'), result('call_1'), calls('abcdefgh1')]
  expect(idsOf(translateIds(twice, NINE))).toMatchInlineSnapshot(`
    [
      "6rne4hanx",
      "6rne4hanx",
      "Brc6wpjqf",
      "abcdefgh1",
      "Brc6wpjqf",
      "EQ2ePe1a1",
    ]
  `)
})

test('calls that all have one id are named in work that grows with their number', () => {
  const many = 5_000
  let tried = 0
  const pattern = Object.assign(/^[a-zA-Z0-9]{9}$/, {
    test(text: string) {
      tried++
      return RegExp.prototype.test.call(NINE.pattern, text)
    },
  })
  const messages = [
    calls(...Array.from({ length: many }, () => 'x')),
    ...Array.from({ length: many }, () => result('x')),
  ]
  const ids = idsOf(translateIds(messages, { ...NINE, pattern }))
  expect(new Set(ids).size).toBe(many)
  expect(ids.slice(0, many)).toEqual(ids.slice(many))
  expect(tried).toBeLessThan(3 * many)
})
