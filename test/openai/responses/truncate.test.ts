import { expect, test } from 'vitest'
import type { InputItem } from '../../../src/openai/responses/items.ts'
import { truncated } from '../../../src/openai/responses/truncate.ts'

const say = (role: string, text: string): InputItem => ({ type: 'message', role, content: text })
const long = (name: string) => `${name} ${'x'.repeat(390)}`
const call = (id: string): InputItem => ({ type: 'function_call', call_id: id, name: 'f', arguments: long(id) })
const result = (id: string): InputItem => ({ type: 'function_call_output', call_id: id, output: long(id) })

/** 100 tokens an item. */
const tokensOf = (items: readonly InputItem[]) => 100 * items.length

const ITEMS = [
  say('developer', long('rules')),
  say('user', long('first')),
  { type: 'reasoning', summary: [], encrypted_content: long('why') },
  call('a'),
  call('b'),
  result('a'),
  result('b'),
  say('assistant', long('answer')),
  say('user', long('second')),
  call('c'),
  result('c'),
]
const names = (items: readonly InputItem[]) => items.map((item) => ITEMS.indexOf(item))

test('what fits stays as it is', () => {
  expect(truncated(ITEMS, tokensOf, 1_100)).toBe(ITEMS)
})

test.each([
  [900, [0, 7, 8, 9, 10]],
  [450, [0, 8, 9, 10]],
  [100, [0, 8, 9, 10]],
])('to %s tokens: the oldest go, calls with their results, instructions and the last words stay', (most, left) => {
  expect(names(truncated(ITEMS, tokensOf, most))).toEqual(left)
})

test('a result without its call goes by itself', () => {
  const items = [result('gone'), say('user', 'x'), say('assistant', 'y'), say('user', 'z')]
  expect(truncated(items, tokensOf, 320)).toEqual(items.slice(1))
})
