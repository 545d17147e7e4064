import { execFileSync, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { SqliteStore } from '../../src/store/sqlite/store.ts'
import { adminCall, call, complete, expectError, metric } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, startGateway, TEST_KEY, type TestConfig, testConfig } from '../support/gateway.ts'
import { measured } from '../support/measured.ts'
import { openRaw, postText } from '../support/raw-http.ts'
import { exported } from '../support/records.ts'
import { freePort } from '../support/redis.ts'
import { type ScriptedGateway, startScripted } from '../support/scripted-gateway.ts'
import {
  chunkOf,
  type Exchange,
  replyPlain,
  type Script,
  startUpstream,
  type Upstream,
  usageChunk,
} from '../support/upstream.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo()
})

async function started(config: TestConfig, ...scripts: Script[]): Promise<ScriptedGateway> {
  const scripted = await startScripted(config, ...scripts)
  cleanUp.push(scripted.close)
  return scripted
}

/** Says a word, then nothing until told to go on. */
function held() {
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const script = async (exchange: Exchange) => {
    exchange.stream()
    exchange.event(chunkOf({ role: 'assistant', content: 'Wait' }))
    await Promise.race([released, exchange.closed])
    exchange.event(chunkOf({ content: ' for it.' }))
    exchange.event(chunkOf({}, 'stop'))
    exchange.event(usageChunk)
    exchange.chunk('data: [DONE]\n\n')
    exchange.end()
  }
  return { script, release }
}

/** A stream of which the first bytes are here. */
async function openStream({ gateway }: ScriptedGateway): Promise<{ rest: () => Promise<string> }> {
  const response = await complete(gateway, { stream: true })
  expect(response.status).toBe(200)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = (await reader.read()).value ?? ''
  return {
    rest: async () => {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return text
        text += value
      }
    },
  }
}

const exitOf = ({ gateway }: ScriptedGateway) =>
  new Promise<number | null>((done) => gateway.process.once('exit', (code) => done(code)))

describe('SIGTERM mid-stream', () => {
  test('not ready, answers that end their connection, no new ones; the stream ends whole, its record is kept, exit 0', async () => {
    const { script, release } = held()
    const scripted = await started({ server: { drain_delay_ms: 800, drain_timeout_ms: 20_000 } }, script, replyPlain())
    const { gateway } = scripted
    const idle = await openRaw(gateway.url)
    idle.send(postText(['host: gateway'], '', '/none'))
    const stream = await openStream(scripted)
    const exit = exitOf(scripted)
    gateway.process.kill('SIGTERM')
    const notReady = await eventually(async () => {
      const answer = await fetch(`${gateway.url}/readyz`)
      return answer.status === 503 && answer
    }, 'not ready')
    expect(notReady.headers.get('connection')).toBe('close')
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200)
    // Whoever has not looked yet is served all the same.
    const late = await complete(gateway)
    expect([late.status, late.headers.get('connection')]).toEqual([200, 'close'])
    await late.text()
    await idle.closed
    await eventually(() => openRaw(gateway.url).then(() => false, () => true), 'no new connections') // biome-ignore format: one line
    release()
    const text = await stream.rest()
    expect(text).toContain(' for it.')
    expect(text.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(await exit).toBe(0)
    const records = await exported(gateway)
    expect(records.map(({ finish_reason }) => finish_reason).sort()).toEqual(['stop', 'stop'])
  })

  test('what the last stream says of the answer before it is learned, not only recorded', async () => {
    const { script, release } = held()
    const scripted = await started({ server: { drain_delay_ms: 0, drain_timeout_ms: 20_000 } }, replyPlain(), script)
    const { gateway } = scripted
    const ask = (more: Record<string, unknown> = {}) =>
      complete(gateway, more, { user: 'ada', headers: { 'x-conversation-id': 'one' } })
    const answer = await ask()
    await answer.text()
    await eventually(async () => (await exported(gateway)).length === 1, 'recorded')
    // The same question again: the answer was not good enough.
    const stream = await ask({ stream: true })
    const exit = exitOf(scripted)
    gateway.process.kill('SIGTERM')
    await eventually(() => gateway.stdout().includes('draining'), 'draining')
    release()
    expect(await stream.text()).toContain('[DONE]')
    expect(await exit).toBe(0)
    expect(gateway.stdout()).not.toContain('thread is closed')
    const { user } = (await exported(gateway))[0] as { user: string }
    const store = new SqliteStore({ kind: 'sqlite', path: join(gateway.dir, 'gateway.db'), retention_days: 90 })
    const edges = await store.loadEdges('test', user)
    await store.close()
    expect(edges.map(({ kind, reward }) => [kind, reward < 0])).toEqual([['regeneration', true]])
  })

  test('a stream that goes on after the deadline ends with an error, not with [DONE]; its record says so, exit 0', async () => {
    const scripted = await started({ server: { drain_delay_ms: 0, drain_timeout_ms: 500 } }, held().script)
    const stream = await openStream(scripted)
    const exit = exitOf(scripted)
    scripted.gateway.process.kill('SIGTERM')
    const text = await stream.rest()
    expect(text).not.toContain('[DONE]')
    const last = text.trimEnd().split('\n\n').at(-1) ?? ''
    expect(expectError(last.replace(/^data: /, '')).code).toBe('shutting_down')
    expect(await exit).toBe(0)
    const records = await exported(scripted.gateway)
    expect(records).toHaveLength(1)
    expect(records[0]?.finish_reason).not.toBe('stop')
  })

  test('an answer that has not begun says that it ends its connection', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const scripted = await started({ server: { drain_delay_ms: 0, drain_timeout_ms: 20_000 } }, async (exchange) => {
      await released
      replyPlain()(exchange)
    })
    const answer = complete(scripted.gateway)
    await eventually(() => scripted.upstream.busy === 1, 'the provider is asked')
    const exit = exitOf(scripted)
    scripted.gateway.process.kill('SIGTERM')
    await eventually(() => scripted.gateway.stdout().includes('draining'), 'draining')
    release()
    const { status, headers } = await answer
    expect([status, headers.get('connection')]).toEqual([200, 'close'])
    expect(await exit).toBe(0)
  })

  test('a second signal ends it at once', async () => {
    const scripted = await started({ server: { drain_timeout_ms: 600_000 } }, held().script)
    await openStream(scripted)
    const exit = exitOf(scripted)
    scripted.gateway.process.kill('SIGTERM')
    await eventually(() => scripted.gateway.stdout().includes('draining'), 'draining')
    scripted.gateway.process.kill('SIGTERM')
    expect(await exit).toBe(1)
  })
})

describe('the configuration changes under load', () => {
  const CLIENTS = 3

  /** Requests one after the other until told to stop; each status. */
  function traffic({ gateway }: ScriptedGateway) {
    const statuses: number[] = []
    let over = false
    const loops = Array.from({ length: CLIENTS }, async (_, client) => {
      while (!over) {
        const response = await complete(gateway, { stream: client === 0 }).catch(() => null)
        const text = await response?.text().catch(() => null)
        statuses.push(text === null ? 0 : (response?.status ?? 0))
        await sleep(5)
      }
    })
    return {
      stop: async () => {
        over = true
        await Promise.all(loops)
        return statuses
      },
    }
  }

  const answers: Script = (exchange) => {
    if (!exchange.json.stream) return replyPlain()(exchange)
    const { script, release } = held()
    setTimeout(release, 20)
    return script(exchange)
  }

  test('broken files are refused whole and the old one is kept: 0 failed requests', async () => {
    const scripted = await started({}, answers)
    const { gateway } = scripted
    const good = readFileSync(gateway.configFile, 'utf8')
    const scratch = join(gateway.dir, 'scratch.yaml')
    const isRefused = (text: string) => {
      writeFileSync(scratch, text)
      try {
        loadConfig(scratch, {})
        return false
      } catch {
        return true
      }
    }
    const load = traffic(scripted)
    let refused = 0
    for (const broken of brokenFiles(good)) {
      if (!isRefused(broken)) continue
      writeFileSync(gateway.configFile, broken)
      if (refused % 3 === 0) gateway.process.kill('SIGHUP')
      const response = await adminCall(gateway, '/config/reload', { method: 'POST' })
      expect(response.status).toBe(400)
      expectError(await response.text())
      refused++
    }
    expect(refused).toBeGreaterThan(40)
    const listed = await (await call(gateway, '/v1/models')).json()
    expect(listed.data.map(({ id }: { id: string }) => id)).toContain('one')
    writeFileSync(gateway.configFile, withAnother(good, 'two'))
    await eventually(async () => (await (await call(gateway, '/v1/models')).text()).includes('"two"'), 'the good one')
    const statuses = await load.stop()
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    expect(statuses.length).toBeGreaterThan(0)
    expect(gateway.stdout()).toContain('the old one stays')
    measured('requests while broken configurations were refused', `${statuses.length}, ${refused} files`)
  })

  test('good files, swapped again and again, fail no request, streams that began under an earlier one included', async () => {
    const scripted = await started({}, answers)
    const { gateway } = scripted
    const good = readFileSync(gateway.configFile, 'utf8')
    const load = traffic(scripted)
    for (let i = 0; i < 20; i++) {
      writeFileSync(`${gateway.configFile}.new`, withAnother(good, `two-${i}`))
      renameSync(`${gateway.configFile}.new`, gateway.configFile)
      if (i % 2) gateway.process.kill('SIGHUP')
      expect((await adminCall(gateway, '/config/reload', { method: 'POST' })).status).toBe(200)
      await sleep(30)
    }
    const statuses = await load.stop()
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    // Of several that come at once, the last one counts.
    await eventually(
      async () => (await (await call(gateway, '/v1/models')).text()).includes('"two-19"'),
      'the last one',
    )
    // The connections of those that were replaced are not kept.
    const open = () => scripted.upstream.open
    await eventually(() => open() <= CLIENTS, 'no more connections to the provider than clients')
  })
})

/** What the gateway says that the time is, in Unix milliseconds. */
const wallClock = async ({ gateway }: ScriptedGateway) =>
  Date.parse((await fetch(`${gateway.url}/healthz`)).headers.get('date') ?? '')

const oneCandidate = ({ origin }: Upstream) => ({
  providers: { up: { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false } },
  candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 }, context_window: 1_000_000 }],
  retries: { max_attempts: 1 },
})

const FAKETIME = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu']
  .map((dir) => `${dir}/faketime/libfaketimeMT.so.1`)
  .find(existsSync)

const JUMPING_CLOCK = new URL('../support/jumping-clock.mjs', import.meta.url).href

/**
 * With libfaketime (Debian: apt-get install libfaketime) the wall clock of the whole process jumps; without it, what
 * its JavaScript sees of it.
 */
const clockFrom = (file: string): Record<string, string> =>
  FAKETIME
    ? {
        LD_PRELOAD: FAKETIME,
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      }
    : { CLOCK_FILE: file, NODE_OPTIONS: `--import=${JUMPING_CLOCK}` }

describe('the clock jumps by an hour', () => {
  test.each(['+3600', '-3600'])('%s: nothing ends early, and what hangs ends all the same', async (jump) => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    let hangs = false
    const upstream = async (exchange: Exchange) => {
      if (hangs) return exchange.closed
      await released
      replyPlain()(exchange)
    }
    const clock = join(tmpdir(), `persona-router-clock-${process.pid}${jump}`)
    writeFileSync(clock, '+0')
    cleanUp.push(() => [clock, `${clock}.seen`].map((file) => rmSync(file, { force: true })))
    const provider = await startUpstream(upstream)
    const gateway = await startGateway(
      {
        ...oneCandidate(provider),
        timeouts: { first_byte_ms: 3_000, answer_ms: 3_000, total_ms: 4_000 },
      },
      { env: clockFrom(clock) },
    )
    const scripted = { gateway, upstream: provider, close: async () => {} }
    cleanUp.push(async () => {
      await discard(gateway)
      await provider.close()
    })
    const answer = complete(scripted.gateway)
    await eventually(() => scripted.upstream.busy === 1, 'the provider is asked')
    const before = await wallClock(scripted)
    writeFileSync(clock, jump)
    const moved = await eventually(async () => {
      const by = FAKETIME ? (await wallClock(scripted)) - before : existsSync(`${clock}.seen`) && Number(jump) * 1_000
      return Math.abs(Number(by)) > 1_800_000 && Number(by)
    }, 'the clock has jumped')
    expect(Math.sign(moved)).toBe(Math.sign(Number(jump)))
    release()
    expect((await answer).status).toBe(200)
    expect((await complete(scripted.gateway)).status).toBe(200)
    hangs = true
    expect((await complete(scripted.gateway)).status).toBe(504)
  })
})

describe('overload', () => {
  const [WORK, QUEUE] = [4, 3]
  const IMPORTANT = 'pr-important-key-0123456789'
  const server = { max_concurrent: WORK, max_queue: QUEUE }
  const tenants = [
    { name: 'test', keys: [TEST_KEY] },
    { name: 'important', keys: [IMPORTANT], priority: 9 },
  ]

  test('up to the limits requests are in work or wait, the rest gets 503 with Retry-After; higher priorities go first', async () => {
    const waiting: (() => void)[] = []
    const scripted = await started({ server, tenants }, async (exchange) => {
      await new Promise<void>((go) => waiting.push(go))
      replyPlain()(exchange)
    })
    const { gateway, upstream } = scripted
    const gauges = async () => [await metric(gateway, 'persona_router_in_flight'), await metric(gateway, 'persona_router_queued')] // biome-ignore format: one line
    const first = Array.from({ length: WORK + QUEUE }, () => complete(gateway))
    await eventually(async () => (await gauges())[1] === QUEUE && waiting.length === WORK, 'all places taken')
    const shed = await Promise.all(
      Array.from({ length: 10 }, () => complete(gateway, {}, { headers: { 'x-no': '1' } })),
    )
    for (const answer of shed) {
      expect(answer.status).toBe(503)
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(expectError(await answer.text()).code).toBe('overloaded')
    }
    for (const path of ['/healthz', '/readyz', '/metrics']) expect((await fetch(gateway.url + path)).status).toBe(200)
    const important = complete(gateway, {}, { key: IMPORTANT })
    // The last of the others makes room.
    const pushedOut = await Promise.race(first.map(async (answer) => (await answer).status))
    expect(pushedOut).toBe(503)
    const byKey = () => upstream.requests.length
    expect(byKey()).toBe(WORK)
    waiting.shift()?.()
    // Whoever waited longest of the most important ones is next, at once.
    await eventually(() => waiting.length === WORK, 'the next is let in')
    const releasing = setInterval(() => waiting.shift()?.(), 5)
    const statuses = await Promise.all(first.map(async (answer) => (await answer).status))
    expect((await important).status).toBe(200)
    clearInterval(releasing)
    expect(statuses.filter((status) => status === 503)).toHaveLength(1)
    expect(statuses.filter((status) => status === 200)).toHaveLength(WORK + QUEUE - 1)
    expect(upstream.requests).toHaveLength(WORK + QUEUE)
    expect(await metric(gateway, 'persona_router_queued')).toBe(0)
  })

  test('at twice the capacity the provider is kept busy, and asked only for what is answered', async () => {
    const waiting: (() => void)[] = []
    const scripted = await started({ server }, async (exchange) => {
      await new Promise<void>((resolve) => waiting.push(resolve))
      replyPlain()(exchange)
    })
    const { gateway, upstream } = scripted
    const counts = { good: 0, shed: 0, other: 0 }
    let stopped = false
    const clients = Array.from({ length: 2 * (WORK + QUEUE) }, async () => {
      while (!stopped) {
        const answer = await complete(gateway)
        await answer.arrayBuffer()
        if (answer.status === 200) counts.good++
        else if (answer.status === 503) counts.shed++
        else counts.other++
        if (answer.status === 503) await sleep(25)
      }
    })
    const from = performance.now()
    // However often a place at the provider comes free: it is taken again, and never is there one more.
    const ROUNDS = 60
    for (let i = 0; i < ROUNDS; i++) {
      await eventually(() => waiting.length === WORK, 'every place at the provider is taken')
      waiting.shift()?.()
    }
    measured('goodput at twice the capacity', `${Math.round((1e3 * ROUNDS) / (performance.now() - from))} a second`)
    stopped = true
    const releasing = setInterval(() => waiting.shift()?.(), 1)
    await Promise.all(clients)
    clearInterval(releasing)
    expect(counts.shed).toBeGreaterThan(0)
    expect(counts.other).toBe(0)
    expect(counts.good).toBeGreaterThanOrEqual(ROUNDS)
    expect(upstream.requests).toHaveLength(counts.good)
  })
})

// A pipe of the shell's kind, which blocks whoever writes when it is full.
describe.skipIf(process.platform === 'win32')('a stdout without a reader', () => {
  test('delays no request and no exit; lines that are not written are counted', async () => {
    const provider = await startUpstream(replyPlain())
    const dir = mkdtempSync(join(tmpdir(), 'persona-router-stdout-'))
    const [configFile, fifo] = [join(dir, 'gateway.yaml'), join(dir, 'stdout')]
    execFileSync('mkfifo', [fifo])
    const pipe = openSync(fifo, 'r+')
    const port = await freePort()
    const good = stringify(testConfig({ ...oneCandidate(provider), server: { port, drain_delay_ms: 0 } }, dir))
    writeFileSync(configFile, good)
    const child = spawn(process.execPath, ['bin/persona-router.mjs', 'serve', '--config', configFile], {
      stdio: ['ignore', pipe, 'ignore'],
    })
    const exit = new Promise<number | null>((done) => child.once('exit', done))
    cleanUp.push(async () => {
      child.kill('SIGKILL')
      await exit
      closeSync(pipe)
      rmSync(dir, { recursive: true })
      await provider.close()
    })
    const url = `http://127.0.0.1:${port}`
    const gateway = { url, baseURL: `${url}/v1`, key: TEST_KEY }
    await eventually(() => fetch(`${url}/healthz`).then(({ ok }) => ok, () => false), 'up', 30_000) // biome-ignore format: one line

    // Long lines fill the pipe, and what is kept for it, sooner than requests do.
    const nonsense = Array.from({ length: 3_000 }, (_, i) => ({ nonsense: `${i}` }))
    writeFileSync(configFile, stringify({ candidates: nonsense }))
    await eventually(async () => {
      child.kill('SIGHUP')
      await sleep(50)
      return (await metric(gateway, 'persona_router_log_lines_dropped')) > 0
    }, 'lines are dropped', 20_000) // biome-ignore format: one line
    const statuses = await Promise.all(Array.from({ length: 200 }, async () => (await complete(gateway)).status))
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    child.kill('SIGTERM')
    expect(await exit).toBe(0)
    writeFileSync(configFile, good)
    expect(await exported({ configFile, dir })).toHaveLength(200)
  })
})

function withAnother(config: string, name: string): string {
  const parsed = parse(config)
  return stringify({ ...parsed, candidates: [...parsed.candidates, { ...parsed.candidates[0], name }] })
}

/** A file as it may look halfway through, after a slip of the hand, or by malice. */
function brokenFiles(good: string): string[] {
  const lines = good.split('\n')
  const cut = Array.from({ length: 20 }, (_, i) => good.slice(0, Math.floor(((i + 1) * good.length) / 21)))
  const misspelt = lines.map((line, i) => [...lines.slice(0, i), line.replace(/(\w+):/, '$1_:'), ...lines.slice(i + 1)])
  const mistyped = lines.map((line, i) => [
    ...lines.slice(0, i),
    line.replace(/: .+$/, ': [{}]'),
    ...lines.slice(i + 1),
  ])
  return [
    ...cut,
    ...[...misspelt, ...mistyped].map((changed) => changed.join('\n')),
    '\0'.repeat(100),
    '{'.repeat(10_000),
    `a: &a [x, x]\n${Array.from({ length: 30 }, (_, i) => `a${i}: &a${i} [*${i ? `a${i - 1}` : 'a'}, *${i ? `a${i - 1}` : 'a'}]`).join('\n')}`,
    `${good}\n__proto__: { admin: { key: null } }\nconstructor: 1`,
    `${good}\nlog: { level: shout }`,
  ]
}
