import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { freePort } from '../../support/redis.ts'
import { newestArtifact } from './newest-artifact.ts'
import { CORES, end, portOf, spawnNode, spawnOn } from './spawned.ts'

export const PEERS_DIR = fileURLToPath(new URL('../../../.cache/peers', import.meta.url))
const PROGRAM = fileURLToPath(new URL('../../../bin/persona-router.mjs', import.meta.url))
const KEY = 'pr-bench-key-0123456789abcdef'
/** Of a tenant whose candidates are the same but speak no dialect. */
const PLAIN_KEY = 'pr-bench-plain-0123456789abcdef'

/** Something to measure: a running proxy in front of the bench's upstream. */
export interface Subject {
  name: string
  port: number
  child: ChildProcess
  /** For each request. */
  headers: Record<string, string>
  model: string
  /** From its start until it listens. */
  readyMs: number
  /** The configuration of a gateway of ours. */
  configFile?: string
  /** Before each of its rounds. */
  prepare?: () => void
  stop(): Promise<void>
}

export interface GatewayOptions {
  /** Parts to take out: `PARTS` of experiments.ts. */
  without?: readonly string[]
  /** Address of a Redis; SQLite where null. */
  redis?: string | null
  candidates?: number
  /** What the candidates are called; `llm-0` and so on where left out. */
  names?: readonly string[]
  /** Directory of the artifact, or a link to one; the newest where left out. */
  artifact?: string
  workers?: number
  /** The configuration's section. */
  telemetry?: object
  device?: string
  /** Beside the pool that speaks a dialect the same pool again without one, for a tenant of its own. */
  twin?: boolean
  /** As an operator starts it, on all cores: without what an earlier start has compiled, or with it. */
  cold?: boolean
  /** Arguments of Node, such as `--cpu-prof`. */
  node?: string[]
}

/** This gateway with everything on, but for what is left out. */
export async function startGateway(name: string, upstream: number, options: GatewayOptions = {}): Promise<Subject> {
  const { without = [], node = [], workers = 1, cold } = options
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-bench-'))
  const file = join(dir, 'gateway.yaml')
  const port = await freePort()
  writeFileSync(file, stringify(gatewayConfig(dir, port, upstream, options)))
  const from = performance.now()
  const core = workers > 1 ? null : CORES.proxy
  const child =
    cold === undefined
      ? spawnNode('gateway.ts', [file, without.join(',')], { core, node })
      : spawnOn(process.execPath, [PROGRAM, 'serve', '-c', file], {
          core: null,
          env: cold ? { NODE_DISABLE_COMPILE_CACHE: '1' } : {},
        })
  await listening(child, port)
  const readyMs = performance.now() - from
  await checkReady(port)
  return {
    name,
    port,
    child,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
    model: without.includes('policy') ? 'llm-0' : 'auto',
    readyMs,
    configFile: file,
    stop: async () => {
      await end(child, node.length > 0 ? 'SIGTERM' : 'SIGKILL')
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Without its artifact it would be another, cheaper gateway. */
async function checkReady(port: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/readyz`)
  const { status, components } = (await answer.json()) as { status: string; components: unknown }
  if (status !== 'ready') throw new Error(`The gateway is ${status}: ${JSON.stringify(components)}`)
}

/** Limits that are never reached: what they cost is counting. */
const LIMITS = {
  limits: { requests_per_minute: 1e9, tokens_per_minute: 1e12, concurrent: 1e6, usd_per_day: 1e6 },
  user_limits: { requests_per_minute: 1e9 },
}

/** Of those that are shipped one with many rules; what the bench itself tells its upstream is let through. */
function benchDialect() {
  const file = new URL('../../../config/models.yaml', import.meta.url)
  const { mistral } = parse(readFileSync(file, 'utf8'), { merge: true }).dialects
  return { ...mistral, fields: { ...mistral.fields, bench_chunks: 'keep', bench_idle: 'keep' } }
}

function gatewayConfig(dir: string, port: number, upstream: number, options: GatewayOptions) {
  const { without = [], redis = null, candidates = 12, names = [], workers = 1, device = 'cpu', twin = false } = options
  const off = new Set(without)
  const pools = ['bench', ...(twin ? ['plain'] : [])]
  const provider = {
    kind: 'openai-compatible',
    base_url: `http://127.0.0.1:${upstream}/v1`,
    api_key: 'provider-key',
    max_connections: 40_000,
  }
  return {
    server: { port, workers, max_connections: 40_000, max_concurrent: 40_000 },
    store: redis ? { kind: 'redis', url: redis } : { kind: 'sqlite', path: join(dir, 'gateway.db') },
    spool: { path: join(dir, 'spool') },
    identity: { secret: 'identity-secret-for-the-bench' },
    router: { artifact: options.artifact ?? newestArtifact(), device, deadline_ms: 10_000 },
    ...(options.telemetry && { telemetry: options.telemetry }),
    log: { level: off.has('log') ? 'silent' : 'info' },
    dialects: { bench: benchDialect() },
    providers: Object.fromEntries(pools.map((name) => [name, provider])),
    candidates: pools.flatMap((pool) =>
      Array.from({ length: candidates }, (_, i) => ({
        name: pool === 'bench' ? (names[i] ?? `llm-${i}`) : `${pool}-${i}`,
        model: names[i] ?? `llm-${i}`,
        provider: pool,
        groups: [pool],
        vendor: `vendor-${i % 5}`,
        description: `Model number ${i} of the bench.`,
        price: { input: 0.1 * (i + 1), output: 0.4 * (i + 1) },
        context_window: 1_000_000,
        capabilities: ['tools', 'vision', 'json_schema'],
      })),
    ),
    tenants: pools.map((name) => ({
      name,
      keys: [name === 'bench' ? KEY : PLAIN_KEY],
      candidates: [name],
      ...(off.has('limits') ? {} : LIMITS),
    })),
  }
}

/**
 * The same process asked by the tenant whose candidates speak no dialect, and that holds no event of a stream back. Two
 * processes of the same code differ by more than adapting costs; one process does not differ from itself.
 */
export function withoutAdapting(name: string, gateway: Subject): [adapting: Subject, plain: Subject] {
  const told = (framing: boolean) => () => void gateway.child.send({ framing })
  const headers = { ...gateway.headers, authorization: `Bearer ${PLAIN_KEY}` }
  return [
    { ...gateway, prepare: told(true) },
    { ...gateway, name, headers, prepare: told(false), stop: async () => {} },
  ]
}

/** A bare proxy of Hono and undici. */
export async function startFloor(upstream: number): Promise<Subject> {
  const from = performance.now()
  const child = spawnNode('floor.ts', [`${upstream}`], { core: CORES.proxy })
  return {
    name: 'bare Hono + undici',
    port: await portOf(child),
    child,
    headers: { 'content-type': 'application/json', authorization: 'Bearer client-key' },
    model: 'llm-0',
    readyMs: performance.now() - from,
    stop: () => end(child),
  }
}

/** Portkey's gateway from npm; null where `npm run bench:peers` has not been run. */
export async function startPortkey(upstream: number): Promise<Subject | null> {
  const program = join(PEERS_DIR, 'portkey/node_modules/@portkey-ai/gateway/build/start-server.js')
  if (!existsSync(program)) return null
  const port = await freePort()
  const from = performance.now()
  const child = spawnOn(process.execPath, [program, `--port=${port}`, '--headless'], {
    core: CORES.proxy,
    cwd: join(PEERS_DIR, 'portkey'),
    env: { NODE_ENV: 'production', TRUSTED_CUSTOM_HOSTS: 'localhost,127.0.0.1' },
    quiet: true,
  })
  await listening(child, port)
  return {
    name: 'Portkey',
    port,
    child,
    headers: {
      'content-type': 'application/json',
      authorization: 'Bearer provider-key',
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `http://127.0.0.1:${upstream}/v1`,
    },
    model: 'llm-0',
    readyMs: performance.now() - from,
    stop: () => end(child),
  }
}

/** LiteLLM's proxy from PyPI; null where `npm run bench:peers` has not been run. */
export async function startLiteLlm(upstream: number): Promise<Subject | null> {
  const program = join(PEERS_DIR, 'litellm/bin/litellm')
  if (!existsSync(program)) return null
  const dir = mkdtempSync(join(tmpdir(), 'litellm-bench-'))
  const file = join(dir, 'config.yaml')
  const route = { model: 'openai/llm-0', api_base: `http://127.0.0.1:${upstream}/v1`, api_key: 'provider-key' }
  writeFileSync(
    file,
    stringify({
      model_list: [{ model_name: 'llm-0', litellm_params: route }],
      general_settings: { master_key: 'sk-bench' },
      litellm_settings: { telemetry: false },
    }),
  )
  const port = await freePort()
  const from = performance.now()
  const child = spawnOn(
    program,
    ['--config', file, '--port', `${port}`, '--host', '127.0.0.1', '--telemetry', 'False'],
    {
      core: CORES.proxy,
      cwd: dir,
      env: { LITELLM_LOG: 'ERROR', LITELLM_LOCAL_MODEL_COST_MAP: 'True' },
      quiet: true,
    },
  )
  await listening(child, port, 120_000)
  return {
    name: 'LiteLLM',
    port,
    child,
    headers: { 'content-type': 'application/json', authorization: 'Bearer sk-bench' },
    model: 'llm-0',
    readyMs: performance.now() - from,
    stop: async () => {
      await end(child)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

async function listening(child: ChildProcess, port: number, withinMs = 60_000): Promise<void> {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (text) => {
      output = (output + text).slice(-4_000)
    })
  }
  const until = performance.now() + withinMs
  while (performance.now() < until) {
    if (child.exitCode !== null) break
    const answered = await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    )
    if (answered) {
      for (const stream of [child.stdout, child.stderr]) stream?.removeAllListeners('data').resume()
      return
    }
    await new Promise((done) => setTimeout(done, 25))
  }
  throw new Error(`A proxy did not come up:\n${output}`)
}
