import { createPublicKey, generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { userOfToken } from '../../src/pipeline/user-token.ts'
import { call, complete, expectError } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

const SECRET = 'open-webui-secret-0123456789'
const encoded = (secret: string) => new TextEncoder().encode(secret)

let keys: Awaited<ReturnType<typeof generateKeyPair>>
let weak: KeyObject
let server: ReturnType<typeof createServer>
let shared: RunningGateway
let published: RunningGateway
beforeAll(async () => {
  keys = await generateKeyPair('RS256', { extractable: true })
  const ours = { ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'RS256' }
  /** Too short by what is asked of such keys. */
  weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey
  const short = { ...createPublicKey(weak).export({ format: 'jwk' }), kid: 'weak' }
  const jwks = { keys: [short, ours] }
  server = createServer((_, response) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify(jwks)),
  )
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
  const tenants = [{ name: 'test', keys: ['pr-test-key-0123456789abcdef'], plain_user_ids: true }]
  ;[shared, published] = await Promise.all([
    startGateway({ tenants, identity: { jwt: { secret: SECRET, issuer: 'open-webui' } } }),
    startGateway({
      tenants,
      identity: { jwt: { jwks_url: url, header: 'x-user-token', claim: 'email', audience: 'gateway', required: true } },
    }),
  ])
})
afterAll(async () => {
  await Promise.all([discard(shared), discard(published)])
  server?.close()
})

const sign = (payload: Record<string, unknown>, secret = SECRET) =>
  new SignJWT(payload).setProtectedHeader({ alg: 'HS256' }).sign(encoded(secret))
const soon = () => Math.floor(Date.now() / 1000) + 300

/** Whose request it was: a rating of theirs shows where they are named. */
async function isOf(gateway: RunningGateway, user: string, headers: Record<string, string>): Promise<void> {
  const response = await complete(gateway, {}, { headers })
  expect(response.status).toBe(200)
  const { id } = await response.json()
  const rated = await call(gateway, '/v1/feedback', { body: { completion_id: id, rating: 'up' }, headers })
  expect(rated.status).toBe(202)
  const profile = async () => (await call(gateway, `/v1/users/${encodeURIComponent(user)}/profile`, { headers })).text()
  await eventually(async () => (await profile()).includes('"kind":"rating"'), `the rating is ${user}'s`)
}

describe('where its issuer', () => {
  test.each([
    ['fails', 500, 'no'],
    ['moved', 302, '{}'],
    ['answers with a page', 200, '<html>'],
    ['answers with something else', 200, '{"keys": 7}'],
  ])('%s, nobody is told that their token is wrong; once it is back, tokens are taken', async (_, status, body) => {
    let isBroken = true
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k1' }
    const issuer = createServer((_, response) => {
      if (isBroken) response.writeHead(status, { location: '/elsewhere' }).end(body)
      else response.end(JSON.stringify({ keys: [jwk] }))
    })
    await new Promise<void>((listening) => issuer.listen(0, '127.0.0.1', listening))
    const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`
    const config = { header: 'x-openwebui-user-jwt', jwks_url: url, claim: 'sub', required: false }
    const token = await new SignJWT({ sub: 'ann', exp: soon() })
      .setProtectedHeader({ alg: 'RS256', kid: 'k1' })
      .sign(keys.privateKey)
    const request = { headers: { 'x-openwebui-user-jwt': token } } as unknown as IncomingMessage
    try {
      await expect(userOfToken(config, request)).rejects.toMatchObject({ status: 503, retryAfterS: 1 })
      isBroken = false
      expect(await userOfToken(config, request)).toBe('ann')
    } finally {
      issuer.close()
    }
  })
})

describe('a token signed with a shared secret', () => {
  const ask = (token: string, headers: Record<string, string> = {}) =>
    complete(shared, {}, { headers: { 'x-openwebui-user-jwt': token, ...headers } })

  test('names the user, before every other source', async () => {
    const token = await sign({ sub: 'ann', iss: 'open-webui', exp: soon() })
    const headers = { 'x-openwebui-user-jwt': token, 'x-user-id': 'mallory' }
    await isOf(shared, 'ann', headers)
    expect((await complete(shared, {}, { headers: { 'x-openwebui-user-jwt': `Bearer ${token}` } })).status).toBe(200)
  })

  test('that is not valid is refused in clear words, and never taken for another source', async () => {
    const cases: [string, RegExp][] = [
      [await sign({ sub: 'ann', iss: 'open-webui', exp: soon() }, 'another-secret-0123456789'), /signature/],
      [await sign({ sub: 'ann', iss: 'open-webui', exp: 1_000 }), /expired/],
      [await sign({ sub: 'ann', iss: 'open-webui' }), /'exp'/],
      [await sign({ sub: 'ann', iss: 'elsewhere', exp: soon() }), /'iss'/],
      [await sign({ iss: 'open-webui', exp: soon() }), /'sub'/],
      [await sign({ sub: 7, iss: 'open-webui', exp: soon() } as never), /'sub'/],
      [new UnsecuredJWT({ sub: 'ann', iss: 'open-webui', exp: soon() }).encode(), /can't be read/],
      ['nonsense', /can't be read/],
    ]
    for (const [token, words] of cases) {
      const response = await ask(token, { 'x-user-id': 'ann' })
      expect([token, response.status]).toEqual([token, 401])
      const text = await response.text()
      expect(expectError(text)).toMatchObject({ code: 'invalid_user_token', message: expect.stringMatching(words) })
      expect(text).not.toContain(token)
    }
  })

  test('is not needed where it is not required', async () => {
    expect((await complete(shared, {}, { user: 'bob' })).status).toBe(200)
  })

  test('does not stand in for a key', async () => {
    const token = await sign({ sub: 'ann', iss: 'open-webui', exp: soon() })
    const headers = { 'x-openwebui-user-jwt': token }
    expect((await complete(shared, {}, { key: 'pr-wrong-key-0123456789', headers })).status).toBe(401)
  })
})

describe('a token whose keys are published', () => {
  const signed = (payload: Record<string, unknown>, key = keys.privateKey) =>
    new SignJWT(payload).setProtectedHeader({ alg: 'RS256', kid: 'k1' }).sign(key)
  const good = () => ({ email: 'ann@example.com', aud: 'gateway', exp: soon() })
  const status = async (headers: Record<string, string>) => (await complete(published, {}, { headers })).status

  test('names the user by the configured claim', async () => {
    await isOf(published, 'ann@example.com', { 'x-user-token': await signed(good()) })
  })

  test('is required, on every route', async () => {
    expect(await status({ 'x-user-id': 'ann@example.com' })).toBe(401)
    expect((await call(published, '/v1/models')).status).toBe(401)
  })

  test('of another audience, or of other keys, is refused', async () => {
    const others = await generateKeyPair('RS256')
    expect(await status({ 'x-user-token': await signed({ ...good(), aud: 'elsewhere' }) })).toBe(401)
    expect(await status({ 'x-user-token': await signed(good(), others.privateKey) })).toBe(401)
  })

  test('that names no key is of one of them; one of a key that is too short is refused', async () => {
    const unnamed = (key: CryptoKey) => new SignJWT(good()).setProtectedHeader({ alg: 'RS256' }).sign(key)
    const others = await generateKeyPair('RS256')
    expect(await status({ 'x-user-token': await unnamed(keys.privateKey) })).toBe(200)
    expect(await status({ 'x-user-token': await unnamed(others.privateKey) })).toBe(401)
    const text = [{ alg: 'RS256', kid: 'weak' }, good()]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    const token = `${text}.${signBytes('sha256', Buffer.from(text), weak).toString('base64url')}`
    expect(await status({ 'x-user-token': token })).toBe(401)
  })

  test('signed with the public key as if it were a secret is refused', async () => {
    const jwk = JSON.stringify(await exportJWK(keys.publicKey))
    const token = await new SignJWT(good()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(encoded(jwk))
    expect(await status({ 'x-user-token': token })).toBe(401)
  })
})
