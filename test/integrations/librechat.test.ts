import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { call, complete } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

const program = fileURLToPath(new URL('../../integrations/librechat/feedback.mjs', import.meta.url))

let gateway: RunningGateway
let adapter: ChildProcess
let url: string
beforeAll(async () => {
  gateway = await startGateway({ identity: { message_headers: ['x-message-id'] } })
  adapter = spawn(process.execPath, [program], {
    env: { ROUTER_URL: gateway.baseURL, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(adapter.stdout as NodeJS.ReadableStream, 'data')
  url = `http://127.0.0.1:${/:(\d+)/.exec(String(line))?.[1]}`
})
afterAll(async () => {
  adapter?.kill()
  await discard(gateway)
})

/** An answer that LibreChat shows as this message, and the score that it sends for a thumb there. */
async function answered(user: string, rating: 'thumbsUp' | 'thumbsDown') {
  const messageId = randomUUID()
  const answer = await complete(gateway, { user }, { headers: { 'x-message-id': messageId } })
  await answer.text()
  return {
    id: 'feedback-1f0c',
    traceId: '1f0c',
    name: 'user-feedback',
    value: rating === 'thumbsUp' ? 1 : 0,
    dataType: 'BOOLEAN',
    metadata: { messageId, conversationId: randomUUID(), userId: user, endpoint: 'agents', rating },
  }
}

const send = (body: unknown, { key = gateway.key, method = 'POST', path = '/api/public/scores' } = {}) =>
  fetch(url + path, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(`persona-router:${key}`).toString('base64')}`,
      'content-type': 'application/json',
    },
    ...(method === 'POST' && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  }).then(({ status }) => status)

const ratings = async (user: string) => {
  const profile = await (await call(gateway, `/v1/users/${user}/profile`)).json()
  return profile.rewards.map(({ value }: { value: number }) => Math.sign(value))
}

test('a thumb rates the answer of that message, for that user, and one that is changed counts in its place', async () => {
  const up = await answered('ann', 'thumbsUp')
  const down = await answered('bob', 'thumbsDown')
  expect(await send(up)).toBe(200)
  expect(await send(down)).toBe(200)
  await eventually(async () => (await ratings('ann')).length === 1, 'the thumb of ann')
  expect(await ratings('ann')).toEqual([1])
  await eventually(async () => (await ratings('bob')).length === 1, 'the thumb of bob')
  expect(await ratings('bob')).toEqual([-1])
  expect(await send({ ...up, value: 0 })).toBe(200)
  await eventually(async () => (await ratings('ann')).at(-1) === -1, 'the other thumb of ann')
})

test('nobody rates for another user; what persona-router did not answer, or nobody pressed, is left', async () => {
  const score = await answered('carl', 'thumbsUp')
  const left = [
    { ...score, metadata: { ...score.metadata, userId: 'eve' } },
    { ...score, metadata: { ...score.metadata, messageId: randomUUID() } },
    { ...score, name: 'latency' },
    { ...score, value: 0.5 },
    { ...score, metadata: undefined },
    null,
  ]
  for (const one of left) expect(await send(one)).toBe(200)
  expect(await ratings('carl')).toEqual([])
  expect(await send(score)).toBe(200)
  await eventually(async () => (await ratings('carl')).length === 1, 'the thumb of carl')
})

test('a wrong key, no key, no JSON, too much of it, and other paths', async () => {
  const score = await answered('dora', 'thumbsUp')
  expect(await send(score, { key: 'pr-wrong-key-0123456789' })).toBe(401)
  expect(await send(score, { key: '' })).toBe(401)
  expect(await send('{')).toBe(400)
  expect(await send('x'.repeat(70_000))).toBe(413)
  expect(await send(score, { path: '/api/public/otel/v1/traces' })).toBe(404)
  expect(await send(null, { method: 'DELETE', path: '/api/public/scores/feedback-1f0c' })).toBe(404)
})
