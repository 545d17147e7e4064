import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import type { RedisConfig } from '../../src/config/schema.ts'
import { openStore } from '../../src/store/index.ts'
import { all } from '../store/records.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { freePort, RedisServer, startRedis, until } from '../support/redis.ts'

const APPEND_ONLY = ['--appendonly', 'yes', '--appendfsync', 'always']
const CLIENTS = 4

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo()
})

const configOf = (server: RedisServer): RedisConfig => ({
  kind: 'redis',
  url: server.url,
  command_timeout_ms: 250,
  retention_days: 90,
})

async function started(server: RedisServer, dir?: string): Promise<RunningGateway> {
  const gateway = await startGateway({ store: { kind: 'redis', url: server.url } }, dir === undefined ? {} : { dir })
  cleanUp.push(() => discard(gateway))
  return gateway
}

async function get(gateway: RunningGateway, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(gateway.url + path)
  return { status: response.status, body: await response.text() }
}

/** One completion by a user that nobody has seen before. Its request id once the whole answer is here. */
async function ask(gateway: RunningGateway): Promise<{ status: number; id: string }> {
  const response = await fetch(`${gateway.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json', 'x-user-id': randomUUID() },
    body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Why is the sky blue?' }] }),
  })
  await response.arrayBuffer()
  return { status: response.status, id: response.headers.get('x-request-id') ?? '' }
}

interface Answer {
  /** 0: no answer, or not all of it. */
  status: number
  id: string
}

/** Clients that ask one question after another until told to stop. */
function traffic(gateway: RunningGateway) {
  const answers: Answer[] = []
  let stopped = false
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (!stopped) answers.push(await ask(gateway).catch(() => ({ status: 0, id: '' })))
  })
  return {
    more: (count: number) => {
      const wanted = answers.length + count
      return until(() => answers.length >= wanted)
    },
    stop: async () => {
      stopped = true
      await Promise.all(clients)
      return answers
    },
  }
}

/** What Redis holds in the end: each answered request once. */
async function eachOnce(server: RedisServer, answered: { id: string }[]): Promise<void> {
  const store = await openStore(configOf(server))
  cleanUp.push(() => store.close())
  const recorded = async () => (await all(store.readInteractions({}))).map(({ id }) => id)
  const ids = answered.map(({ id }) => id)
  await until(async () => includesAll(await recorded(), ids))
  const found = await recorded()
  expect(new Set(found).size).toBe(found.length)
}

describe('a gateway whose Redis', () => {
  test('is down at boot serves, says that it is degraded, and recovers', async () => {
    const server = new RedisServer(await freePort(), APPEND_ONLY)
    cleanUp.push(() => server.discard())
    const gateway = await started(server)
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(gateway)))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect(await get(gateway, '/healthz')).toMatchObject({ status: 200 })
    expect(JSON.parse((await get(gateway, '/readyz')).body)).toMatchObject({ status: 'degraded' })
    await server.start()
    await until(async () => JSON.parse((await get(gateway, '/readyz')).body).status === 'ready')
    await eachOnce(server, answers)
  })

  test('is killed and frozen under load fails no request, and loses and doubles no record', async () => {
    const server = await startRedis(...APPEND_ONLY)
    cleanUp.push(() => server.discard())
    const gateway = await started(server)
    const load = traffic(gateway)
    await load.more(30)
    await server.kill()
    await load.more(100)
    await server.start()
    await load.more(50)
    server.freeze()
    await load.more(100)
    server.thaw()
    await load.more(30)
    const answered = await load.stop()
    expect(answered.filter(({ status }) => status !== 200)).toEqual([])
    await eachOnce(server, answered)
  })

  test('and itself are killed: whoever had their whole answer has a record when both are back', async () => {
    const server = await startRedis(...APPEND_ONLY)
    cleanUp.push(() => server.discard())
    let gateway = await started(server)
    const answered: Answer[] = []
    for (const redisDies of [false, true]) {
      const load = traffic(gateway)
      await load.more(20 + Math.floor(Math.random() * 50))
      if (redisDies) {
        await server.kill()
        await load.more(30)
      }
      gateway.process.kill('SIGKILL')
      answered.push(...(await load.stop()).filter(({ status }) => status !== 0))
      if (redisDies) await server.start()
      gateway = await started(server, gateway.dir)
    }
    expect(answered.every(({ status }) => status === 200)).toBe(true)
    await eachOnce(server, answered)
  }, 120_000)
})

function includesAll(found: string[], wanted: string[]): boolean {
  const known = new Set(found)
  return wanted.every((id) => known.has(id))
}
