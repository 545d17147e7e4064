import { cpSync, mkdtempSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { plainState } from '../../src/store/plain-state.ts'
import { SqliteStore } from '../../src/store/sqlite/store.ts'
import { editManifest } from '../routing/support.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'

/** Of the committed artifact. */
const STATE_NUMBERS = JSON.parse(
  readFileSync(new URL('../../router-model/artifacts/current/manifest.json', import.meta.url), 'utf8'),
).dims.S as number
const ARTIFACT = resolve(fileURLToPath(new URL('../../router-model/artifacts/current', import.meta.url)))

let gateway: RunningGateway | undefined
afterEach(async () => {
  await discard(gateway)
  gateway = undefined
})

/** A copy that may be broken, under another version if one is given. */
function copyOf(version?: string): string {
  const copy = join(mkdtempSync(join(tmpdir(), 'artifact-')), 'artifact')
  cpSync(ARTIFACT, copy, { recursive: true, dereference: true })
  if (version) editManifest(copy, (manifest) => Object.assign(manifest, { version }))
  return copy
}

async function ask({ baseURL, key }: RunningGateway, user: string) {
  const response = await fetch(`${baseURL}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-user-id': user },
    body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Why is the sky blue?' }] }),
  })
  const header = (name: string) => response.headers.get(`x-router-${name}`) ?? ''
  await response.arrayBuffer()
  return {
    status: response.status,
    id: response.headers.get('x-request-id') ?? '',
    reason: header('reason'),
    policy: header('policy'),
  }
}

const rate = async ({ baseURL, key }: RunningGateway, user: string, id: string) =>
  (
    await fetch(`${baseURL}/feedback`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-user-id': user },
      body: JSON.stringify({ request_id: id, rating: 'up' }),
    })
  ).status

const stateOf = async ({ url }: RunningGateway) => (await (await fetch(`${url}/readyz`)).json()).components.router
const metric = async ({ url }: RunningGateway, name: string) =>
  (await (await fetch(`${url}/metrics`)).text()).split('\n').filter((line) => line.startsWith(name))

describe('a corrupt artifact at boot', () => {
  it('leaves a gateway that serves by its fallback router, says so, and recovers without a restart', async () => {
    const directory = copyOf()
    writeFileSync(join(directory, 'score.onnx'), 'broken')
    gateway = await startGateway({ router: { artifact: directory, fallback: 'cheapest' } })
    expect(await stateOf(gateway)).toMatchObject({
      state: 'degraded',
      detail: expect.stringContaining('hash: score.onnx'),
    })
    expect(await ask(gateway, 'ann')).toMatchObject({
      status: 200,
      policy: 'fallback:cheapest',
      reason: expect.stringMatching(/^fallback/),
    })
    expect(await metric(gateway, 'persona_router_router_fallback_total{reason="no_artifact"}')).toHaveLength(1)

    const good = copyOf()
    const reloaded = await fetch(`${gateway.url}/admin/artifact/reload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ artifact: good }),
    })
    expect(reloaded.status).toBe(200)
    expect(await stateOf(gateway)).toMatchObject({ state: 'ok' })
    expect((await ask(gateway, 'ann')).reason).toMatch(/^cold_start|^explore/)
  })

  it('keeps a gateway that requires one from starting', async () => {
    const directory = copyOf()
    writeFileSync(join(directory, 'score.onnx'), 'broken')
    await expect(startGateway({ router: { artifact: directory, required: true } })).rejects.toThrow(/ended with [1-9]/)
  })
})

describe('a user whose scores are no numbers', () => {
  it('is served by the fallback router, which the header names, and from then on like a new one; others are as ever', async () => {
    const config = {
      router: { artifact: ARTIFACT, fallback: 'cheapest', explore: false },
      tenants: [{ name: 'test', keys: [TEST_KEY], plain_user_ids: true }],
    }
    const before = await startGateway(config)
    gateway = before
    const { id } = await ask(before, 'ann')
    expect(await rate(before, 'ann', id)).toBe(202)
    await before.stop()

    const store = new SqliteStore({ kind: 'sqlite', path: join(before.dir, 'gateway.db'), retention_days: 90 })
    const good = await store.loadUser('test', 'p:ann')
    if (!good) throw new Error('The rating was not learned.')
    // Finite, so that nobody notices before it is used.
    const state = plainState(Buffer.from(new Float32Array(STATE_NUMBERS).fill(3e38).buffer))
    const edges = await store.loadEdges('test', 'p:ann')
    await store.commitUser('test', 'p:ann', { ...good, revision: good.revision + 1, state }, edges)
    await store.close()

    const after = await startGateway(config, { dir: before.dir })
    gateway = after
    expect(await ask(after, 'ann')).toMatchObject({
      status: 200,
      policy: 'fallback:cheapest',
      reason: expect.stringMatching(/^fallback; *not_finite/),
    })
    expect(await ask(after, 'ann')).toMatchObject({ status: 200, policy: expect.not.stringContaining('fallback') })
    expect((await ask(after, 'bob')).reason).toMatch(/^cold_start/)
    expect(await metric(after, 'persona_router_router_fallback_total{reason="not_finite"} 1')).toHaveLength(1)
  })
})

describe('a hot swap under traffic', () => {
  it('fails no request, and a bad artifact changes nothing', async () => {
    const link = join(mkdtempSync(join(tmpdir(), 'artifacts-')), 'current')
    const turnTo = (directory: string) => {
      symlinkSync(directory, `${link}.next`)
      renameSync(`${link}.next`, link)
    }
    turnTo(copyOf('v1'))
    const running = await startGateway({ router: { artifact: link } })
    gateway = running
    const answers: Awaited<ReturnType<typeof ask>>[] = []
    let going = true
    const client = async (name: string) => {
      while (going) answers.push(await ask(running, name))
    }
    const clients = Promise.all(['a', 'b', 'c', 'd'].map(client))
    turnTo(copyOf('v2'))
    await expect.poll(() => answers.at(-1)?.policy, { timeout: 20_000 }).toBe('v2')
    const bad = copyOf('v3')
    writeFileSync(join(bad, 'user.onnx'), 'broken')
    turnTo(bad)
    await expect
      .poll(() => metric(running, 'persona_router_artifact_loads_total{result="refused"} 1'), { timeout: 20_000 })
      .toHaveLength(1)
    going = false
    await clients
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    const policies = answers.map(({ policy }) => policy)
    expect(new Set(policies)).toEqual(new Set(['v1', 'v2']))
    expect(answers.at(-1)?.policy).toBe('v2')
    expect(await stateOf(running)).toMatchObject({
      state: 'degraded',
      detail: expect.stringContaining('hash: user.onnx'),
    })
  })
})
