import { expect, it } from 'vitest'
import { plain } from '../../src/cli/plain.ts'

it('shows what a client chose on one line, in one column, and without a word to the terminal', () => {
  const name = 'eve\u001b[2J\nacme\t1\r\u009b31m\u2028\u202egpj\u007f\u{e0041}'
  expect(plain(name)).toBe('eve\\u{1b}[2J\\u{a}acme\\u{9}1\\u{d}\\u{9b}31m\\u{2028}\\u{202e}gpj\\u{7f}\\u{e0041}')
  expect(plain('Jürgen Ångström-李 🦀 x@y.z')).toBe('Jürgen Ångström-李 🦀 x@y.z')
})
