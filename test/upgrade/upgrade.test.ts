import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, complete } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import type { Upstream } from '../support/upstream.ts'
import { clockOf, fixtures, layOutFile, layOutSpool, loadKeys, readFixture } from './fixture.ts'
import { rate } from './live.ts'
import { exportedLines, type Observed, observe } from './observe.ts'
import { differences } from './same.ts'
import { startProvider, worldConfig } from './world.ts'

const SECTIONS = ['records', 'usage', 'profiles', 'decisions', 'keys', 'responses', 'admin']

describe.each(fixtures())('what a gateway kept, as %s has it', (name) => {
  const fixture = readFixture(name)
  const { memories, expected } = fixture
  let redis: RedisServer | null = null
  let provider: Upstream
  let gateway: RunningGateway
  let env: Record<string, string>
  /** As the present version says it, before and after a restart. */
  let now: Observed
  let again: Observed

  beforeAll(async () => {
    provider = await startProvider(1_000)
    const dir = mkdtempSync(join(tmpdir(), 'upgrade-'))
    env = clockOf(fixture, dir)
    layOutSpool(name, fixture, dir)
    let store: Parameters<typeof worldConfig>[1]
    if (fixture.kind === 'redis') {
      redis = await startRedis()
      await loadKeys(name, redis)
      store = { kind: 'redis', url: redis.url }
    } else store = { kind: 'sqlite', path: layOutFile(name, dir) }
    const start = async () => {
      gateway = await startGateway(worldConfig(provider.origin, store), { dir, env })
      await eventually(
        async () => (await exportedLines(gateway, { env })).length === (expected.records as unknown[]).length,
        'the spool is taken over',
        60_000,
      )
      return observe(gateway, memories, { env })
    }
    now = await start()
    await gateway.stop()
    again = await start()
  }, 300_000)
  afterAll(async () => {
    await discard(gateway)
    await redis?.discard()
    await provider?.close()
  })

  test.each(SECTIONS)('%s: nothing is lost, all of it reads the same', (section) => {
    expect(Object.keys(expected)).toEqual(SECTIONS)
    expect(differences(expected[section], now[section], section)).toEqual([])
  })

  test.each(SECTIONS)('%s: also once the new version has started a second time', (section) => {
    expect(differences(expected[section], again[section], section)).toEqual([])
  })

  test('who was erased stays erased, whatever comes late', async () => {
    const ids = (now.records as { id?: string }[]).map(({ id }) => id)
    expect(ids).not.toContain(fixture.late)
    expect((now.profiles as Record<string, unknown>).dan).toBe(404)
  })

  test('a budget that was used up is used up', async () => {
    const refused = await complete(gateway, { model: 'dear', max_tokens: 40_000 }, { user: 'max' })
    expect([refused.status, (await refused.json()).error.code]).toEqual([429, 'insufficient_quota'])
    expect((await complete(gateway, { model: 'dear', max_tokens: 40_000 }, { user: 'nobody' })).status).toBe(200)
  })

  test('a conversation goes on with its model', async () => {
    const headers = { 'x-conversation-id': 'chat-ada' }
    const messages = [...memories.turns, { role: 'user', content: 'Thanks.' }]
    const said = await (
      await call(gateway, '/v1/router/explain', { user: 'ada', headers, body: { model: 'auto', messages } })
    ).json()
    expect(said.conversation).toMatchObject({ candidate: expect.any(String), messages: 3 })
    expect(said.conversation.candidate).toBe(expectedModelOf(memories.answers.filter(({ user }) => user === 'ada')))
  })

  /** Of the last answer in the conversation. */
  function expectedModelOf(answers: { request: string }[]): string | undefined {
    const mine = new Set(answers.map(({ request }) => request))
    const rows = (expected.records as { id: string; conversation: string | null; chosen: string; ts: number }[]).filter(
      ({ id, conversation }) => mine.has(id) && conversation !== null,
    )
    const latest = Math.max(...rows.filter(({ conversation }) => sizeOf(rows, conversation) > 1).map(({ ts }) => ts))
    return rows.find(({ ts }) => ts === latest)?.chosen
  }
  const sizeOf = (rows: { conversation: string | null }[], name: string | null) =>
    rows.filter(({ conversation }) => conversation === name).length

  test('a chain of responses goes on from what was kept', async () => {
    const before = provider.requests.length
    const body = { model: 'cheap', input: 'Thanks.', previous_response_id: memories.responses.at(-1) }
    expect((await call(gateway, '/v1/responses', { user: 'cyd', body })).status).toBe(200)
    const seen = provider.requests.slice(before).map(({ body: bytes }) => bytes.toString())
    expect(seen.join()).toMatch(/My name is Cyd\..*What is it\?.*Spell it\..*Thanks\./s)
  })

  test('answers of before can be rated, once each', async () => {
    const counted = async (user: string) =>
      (await (await call(gateway, `/v1/users/${user}/profile`)).json()).rewards_counted as number
    const before = await counted('dee')
    for (const answer of memories.answers.filter(({ user }) => user === 'dee')) {
      await rate(gateway, answer, { rating: 'up' })
      await rate(gateway, answer, { rating: 'down' })
    }
    await eventually(async () => (await counted('dee')) === before + 3, 'three answers are rated')
    for (const answer of memories.answers.filter(({ completion, user }) => user === 'ada' && completion !== '')) {
      const { status } = await call(gateway, '/v1/feedback', {
        user: 'ada',
        body: { completion_id: answer.completion, rating: 'up' },
      })
      expect(status).toBe(202)
    }
  })
})
