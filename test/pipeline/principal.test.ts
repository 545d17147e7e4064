import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { headerText } from '../../src/pipeline/principal.ts'

const request = (headers: IncomingMessage['headers']) => ({ headers }) as IncomingMessage
const latin1 = (text: string) => Buffer.from(text).toString('latin1')

it.each([
  ['ASCII', 'ada', 'ada'],
  ['nothing', '', ''],
  ['a control character', 'a\tb\x7f', 'a\tb\x7f'],
  ['UTF-8', latin1('Zoë 🦙'), 'Zoë 🦙'],
  ['bytes that are not UTF-8', 'Zo\xeb', 'Zoë'],
])('a header of %s', (_, value, text) => {
  expect(headerText(request({ 'x-user-id': value }), 'x-user-id')).toBe(text)
})

it('a header that is there several times, or not at all, is no text', () => {
  expect(headerText(request({ 'set-cookie': ['a', 'b'] }), 'set-cookie')).toBeUndefined()
  expect(headerText(request({}), 'x-user-id')).toBeUndefined()
})

it('names of an object’s own methods are names like any other', () => {
  expect(headerText(request({}), 'constructor')).toBeUndefined()
})
