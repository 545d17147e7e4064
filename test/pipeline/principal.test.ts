import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { UserIds } from '../../src/candidates/tenants.ts'
import type { Config } from '../../src/config/schema.ts'
import { configSchema } from '../../src/config/schema.ts'
import type { Snapshot } from '../../src/config/snapshot.ts'
import type { Caller } from '../../src/pipeline/authenticate.ts'
import { headerText, principalOf, refuseRepeatedHeaders } from '../../src/pipeline/principal.ts'
import { CHEAP, DEAR } from '../routing/support.ts'

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

/** As a caller is served under a configuration. */
function served(caller: Partial<Caller>, headers: IncomingMessage['headers'] = {}, tenant: object = {}, body?: object) {
  const config = configSchema.parse({ tenants: [{ name: 'acme', plain_user_ids: true, ...tenant }] }) as Config
  const tenants = new Map([
    ['acme', { name: 'acme', config: config.tenants[0], candidates: [CHEAP, DEAR], aliases: [] }],
  ])
  const whole: Caller = { tenant: 'acme', keyId: 'k', models: null, scopes: null, ...caller }
  return principalOf({ config, tenants } as unknown as Snapshot, new UserIds(['secret']), whole, request(headers), body)
}

it('whoever has the key can name anybody, and vouches for nobody unless the operator says so', () => {
  const named = { 'x-user-id': 'ann' }
  expect(served({}, named)).toMatchObject({ user: 'p:ann', vouched: false })
  expect(served({}, {}, {}, { user: 'bob' })).toMatchObject({ user: 'p:bob', vouched: false })
  expect(served({}, named, { vouched_users: true })).toMatchObject({ user: 'p:ann', vouched: true })
  expect(served({ scopes: ['chat', 'vouch'] }, named)).toMatchObject({ user: 'p:ann', vouched: true })
  expect(served({ user: 'carl' }, named, {}, { user: 'bob' })).toMatchObject({ user: 'p:carl', vouched: true })
  // Nobody is nobody.
  expect(served({}, {}, { vouched_users: true })).toMatchObject({ user: 'anonymous', vouched: false })
})

it('a key is limited to its models', () => {
  expect(served({}).allowed).toEqual([CHEAP, DEAR])
  expect(served({ models: ['cheap'] }).allowed).toEqual([CHEAP])
  expect(served({ models: [] }).allowed).toEqual([])
})

it('a header that says on whose behalf a request comes is there once', () => {
  const raw = (...rawHeaders: string[]) => ({ rawHeaders }) as IncomingMessage
  const names = new Set(['x-user-id'])
  expect(() => refuseRepeatedHeaders(raw('X-User-Id', 'a', 'accept', '*', 'accept', '*'), names)).not.toThrow()
  expect(() => refuseRepeatedHeaders(raw('X-User-Id', 'a', 'host', 'h', 'x-user-id', 'b'), names)).toThrow(
    /there twice/,
  )
  expect(() => refuseRepeatedHeaders(raw('authorization', 'a', 'host', 'h', 'Authorization', 'a'), names)).toThrow()
})
