import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from '../../scripts/lib/free-port.mjs'

export { freePort }

const SLOTS = 16_384

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** A real redis-server (`REDIS_SERVER`: another, such as Valkey's) on a free port, with a directory of its own. */
export class RedisServer {
  readonly port: number
  readonly dir = mkdtempSync(join(tmpdir(), 'persona-router-redis-'))
  readonly #args: string[]
  #process: ChildProcess | undefined

  constructor(port: number, args: string[]) {
    this.port = port
    this.#args = args
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** Resolves when it takes commands. Also starts it again, with what it had written to disk. */
  async start(args = this.#ownArgs(), started = /Ready to accept connections/): Promise<void> {
    const child = spawn(process.env.REDIS_SERVER ?? 'redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    let output = ''
    await new Promise<void>((ready, fail) => {
      child.once('error', fail)
      child.once('close', (code) => fail(new Error(`redis-server ended with ${code}:\n${output}`)))
      child.stderr.on('data', (text) => {
        output += text
      })
      child.stdout.on('data', (text) => {
        output += text
        if (started.test(output)) ready()
      })
    })
  }

  /** SIGKILL unless told otherwise: what was not on disk is lost. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGCONT')
    child.kill(signal)
    await exited
  }

  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  /** One command on a connection of its own. */
  async command(name: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new Redis(this.url, { lazyConnect: true })
    try {
      return await client.call(name, ...args)
    } finally {
      client.disconnect()
    }
  }

  #ownArgs(): string[] {
    return ['--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.dir, '--save', '', ...this.#args]
  }

  async discard(): Promise<void> {
    await this.kill()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

export async function startRedis(...args: string[]): Promise<RedisServer> {
  const server = new RedisServer(await freePort(), args)
  await server.start()
  return server
}

export interface RedisCluster {
  masters: RedisServer[]
  replicas: RedisServer[]
  /** `host:port` of all masters, as the configuration wants them. */
  addresses: string[]
  discard(): Promise<void>
}

/**
 * A real Redis Cluster: its masters share the slots evenly, in order; each has a replica if wanted. One that lost a
 * part serves the others.
 */
export async function startRedisCluster({
  masters: count = 3,
  replicas: withReplicas = false,
} = {}): Promise<RedisCluster> {
  const args = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    '1000',
    '--cluster-require-full-coverage',
    'no',
    '--appendonly',
    'yes',
  ]
  const servers: RedisServer[] = []
  for (let i = 0; i < (withReplicas ? 2 : 1) * count; i++) servers.push(new RedisServer(await freePort(), args))
  await Promise.all(servers.map((server) => server.start()))
  const masters = servers.slice(0, count)
  const replicas = servers.slice(count)

  await Promise.all(
    masters.map(async (server, i) => {
      const [from, to] = [Math.ceil((i * SLOTS) / count), Math.ceil(((i + 1) * SLOTS) / count)]
      await server.command('CLUSTER', 'ADDSLOTS', ...Array.from({ length: to - from }, (_, k) => from + k))
      await server.command('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
    }),
  )
  for (const server of servers.slice(1)) await server.command('CLUSTER', 'MEET', '127.0.0.1', masters[0]!.port)
  await Promise.all(servers.map((server) => until(async () => (await knownNodes(server)) === servers.length)))
  await Promise.all(
    replicas.map(async (server, i) => {
      const master = await masters[i]!.command('CLUSTER', 'MYID')
      await until(() =>
        server.command('CLUSTER', 'REPLICATE', String(master)).then(
          () => true,
          () => false,
        ),
      )
    }),
  )
  await Promise.all(
    servers.map((server) =>
      until(async () => String(await server.command('CLUSTER', 'INFO')).includes('cluster_state:ok')),
    ),
  )
  if (withReplicas) {
    await Promise.all(
      replicas.map((server) =>
        until(async () => String(await server.command('INFO', 'replication')).includes('master_link_status:up')),
      ),
    )
  }
  return {
    masters,
    replicas,
    addresses: masters.map(({ address }) => address),
    discard: async () => void (await Promise.all(servers.map((server) => server.discard()))),
  }
}

async function knownNodes(server: RedisServer): Promise<number> {
  const nodes = String(await server.command('CLUSTER', 'NODES'))
  return nodes
    .trim()
    .split('\n')
    .filter((line) => !line.includes('handshake')).length
}

/** A master, its replica, and the Sentinel that makes the one the other when it dies. */
export async function startRedisBehindSentinel(): Promise<{
  master: RedisServer
  replica: RedisServer
  sentinel: RedisServer
  discard(): Promise<void>
}> {
  const master = await startRedis()
  const replica = await startRedis('--replicaof', '127.0.0.1', `${master.port}`, '--repl-diskless-sync-delay', '0')
  await until(async () => String(await replica.command('INFO', 'replication')).includes('master_link_status:up'))
  const sentinel = new RedisServer(await freePort(), [])
  const config = join(sentinel.dir, 'sentinel.conf')
  writeFileSync(
    config,
    [
      `port ${sentinel.port}`,
      'bind 127.0.0.1',
      `dir ${sentinel.dir}`,
      `sentinel monitor main 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds main 500',
      'sentinel failover-timeout main 3000',
    ].join('\n'),
  )
  await sentinel.start([config, '--sentinel'], /monitor master main/)
  await until(async () => ((await sentinel.command('SENTINEL', 'REPLICAS', 'main')) as unknown[]).length === 1)
  const servers = [sentinel, replica, master]
  return {
    master,
    replica,
    sentinel,
    discard: async () => void (await Promise.all(servers.map((server) => server.discard()))),
  }
}

/** Asks again and again until it is so. */
export async function until(condition: () => boolean | Promise<boolean>, withinMs = 20_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`Still not so after ${withinMs} ms: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
