import { expect, test } from 'vitest'
import { ANONYMOUS, UserIds } from '../../src/candidates/tenants.ts'
import { type Config, configSchema } from '../../src/config/schema.ts'

const { tenants } = configSchema.parse({
  tenants: [{ name: 'acme' }, { name: 'other' }, { name: 'plain', plain_user_ids: true }],
}) as Config
const [acme, other, plain] = tenants as [Config['tenants'][0], Config['tenants'][0], Config['tenants'][0]]
const ids = new UserIds(['a secret for user ids'])

test('a user is kept under another name in each tenant, and under each secret; asked again, under the same', () => {
  const stored = ids.stored(acme, 'ann')
  expect(stored).toMatch(/^[\w-]{32}$/)
  expect(ids.stored(acme, 'ann')).toBe(stored)
  expect(new Set([stored, ids.stored(acme, 'bob'), ids.stored(other, 'ann')]).size).toBe(3)
  const elsewhere = new UserIds(['a secret for user ids'])
  expect(elsewhere.stored(acme, 'ann')).toBe(stored)
  elsewhere.use(['another secret of user ids'])
  expect(elsewhere.stored(acme, 'ann')).not.toBe(stored)
  expect(ids.stored(acme, null)).toBe(ANONYMOUS)
  // No user can call themselves as the anonymous one is kept.
  expect(ids.stored(plain, ANONYMOUS)).not.toBe(ANONYMOUS)
})

test('a user is known under former ids for as long as under the present one', () => {
  const two = new UserIds(['a new secret for user ids', 'a secret for user ids'])
  const stored = two.stored(acme, 'ann')
  // Ann asks now and then; so do more others than are remembered.
  for (let i = 0; i < 30_000; i++) {
    two.stored(acme, `u-${i}`)
    if (i % 1_000 === 0) two.stored(acme, 'ann')
  }
  expect(two.stored(acme, 'ann')).toBe(stored)
  expect(two.former('acme', stored)).toEqual([ids.stored(acme, 'ann')])
  expect(two.former('other', stored)).toEqual([])
  two.use(['a new secret for user ids'])
  expect(two.stored(acme, 'ann')).toBe(stored)
  expect(two.former('acme', stored)).toEqual([])
})

test('conversations and messages are their user’s: nobody reaches another’s by its name', () => {
  const ofAnn = ids.conversation(acme, 'ann', 'c')
  expect(ids.conversation(acme, 'ann', 'c')).toBe(ofAnn)
  const others = [
    ids.conversation(acme, 'bob', 'c'),
    ids.conversation(other, 'ann', 'c'),
    ids.conversation(acme, 'ann', 'd'),
  ]
  expect(new Set([ofAnn, ...others]).size).toBe(4)
  expect(ids.message(acme, 'ann', 'm')).not.toBe(ids.message(acme, 'bob', 'm'))
  expect(ids.message(acme, 'ann', 'c')).not.toBe(`message-${ofAnn}`)
  expect([ids.conversation(acme, 'ann', null), ids.message(acme, 'ann', null)]).toEqual([null, null])
})
