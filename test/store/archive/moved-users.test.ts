import { expect, test } from 'vitest'
import { MovedUsers } from '../../../src/store/archive/moved-users.ts'

const move = (from: string, to: string) => ({ tenant: 'acme', from, to })

test('who gets a former id back has it from now on', () => {
  const moved = MovedUsers.parse(null)
  moved.take([move('first', 'second')])
  moved.take([move('second', 'first')])
  expect(['first', 'second'].map((user) => moved.presentId('acme', user))).toEqual(['first', 'first'])
})

test('all former ids of who is erased are forgotten, in whichever order they came', () => {
  const moved = MovedUsers.parse(JSON.stringify({ acme: { between: 'present', first: 'between', other: 'another' } }))
  moved.forget('acme', (former) => moved.presentId('acme', former) === 'present')
  expect(JSON.parse(moved.toJson())).toEqual({ acme: { other: 'another' } })
})
