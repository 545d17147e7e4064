import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { RedisConfig } from '../../config/schema.ts'
import { atEndOfTick } from '../../runtime/end-of-tick.ts'
import { FairTimer } from '../../runtime/fair-timer.ts'

const CONNECT_MS = 2_000
const RECONNECT = { firstMs: 50, maxMs: 1_000 }
/** A connection that does not answer what is written to it within this time is dead. */
const SILENT_MS = 3_000

export type RedisClient = Redis | Cluster

/**
 * A client of a single server, of the master that Sentinels name, or of a Cluster. It connects by itself, again and
 * again. Commands are never queued: without a connection they fail immediately.
 *
 * @throws Error when the configuration names no server, or a TLS file can't be read
 */
export function createRedis(config: RedisConfig): RedisClient {
  const client = config.cluster
    ? createCluster(config.cluster, commonOptions(config))
    : config.sentinel
      ? createBehindSentinels(config.sentinel, commonOptions(config))
      : new Redis(urlOf(config), { ...commonOptions(config), ...queueNothing })
  // What went wrong is seen by the commands that fail; without a listener Node would end the process.
  client.on('error', () => undefined)
  onEachClient(client, hearAllErrors)
  takeNewestPassword(client, config.password_file)
  onEachConnection(client, groupWrites)
  onEachConnection(client, watchSilence)
  if (client instanceof Redis) client.connect().catch(() => undefined)
  return client
}

function onEachConnection(client: RedisClient, work: (stream: Stream) => void): void {
  onEachClient(client, (one) => void one.on('connect', () => work(one.stream)))
}

/** The client itself, or a Cluster's of each node, before it connects. */
function onEachClient(client: RedisClient, work: (one: Redis) => void): void {
  if (client instanceof Redis) work(client)
  else client.on('+node', work)
}

/**
 * ioredis listens for one error of a connection. TLS may have a second one to tell, the alert behind a certificate that
 * was not accepted, and Node would end the process.
 */
function hearAllErrors(client: Redis): void {
  const { connector } = client as unknown as { connector: { connect(...args: unknown[]): Promise<Stream> } }
  const connect = connector.connect.bind(connector)
  connector.connect = async (...args) => (await connect(...args)).on('error', () => undefined)
}

const passwordFiles = new WeakMap<RedisClient, string>()

/** A password may be replaced while this process runs: each connection is made with the one of its time. */
function takeNewestPassword(client: RedisClient, file: string | undefined): void {
  if (file === undefined) return
  passwordFiles.set(client, file)
  onEachClient(client, (one) => {
    const take = () => {
      try {
        one.options.password = readFileSync(file, 'utf8').trim()
      } catch {
        // The one before, then.
      }
    }
    take()
    one.on('reconnecting', take)
  })
}

type Stream = Redis['stream']

/**
 * Commands of one turn of the event loop leave in one write: a system call each was a quarter of the CPU of a request
 * (docs/profile.md).
 */
function groupWrites(stream: Stream): void {
  let grouping = false
  beforeEachWrite(stream, () => {
    if (grouping) return
    grouping = true
    stream.cork()
    atEndOfTick(() => {
      grouping = false
      stream.uncork()
    })
  })
}

/** ioredis' own `socketTimeout` fires also where this process was too busy to read the reply. */
function watchSilence(stream: Stream): void {
  let timer: FairTimer | null = null
  const watch = () => {
    timer ??= new FairTimer(SILENT_MS, () => stream.destroy(new Error(`no reply within ${SILENT_MS} ms`))).unref()
  }
  const stop = () => {
    timer?.clear()
    timer = null
  }
  stream.on('data', stop).once('close', stop)
  // ioredis has greeted the server before it tells of the connection.
  if (stream.bytesWritten > 0) watch()
  beforeEachWrite(stream, watch)
}

function beforeEachWrite(stream: Stream, work: () => void): void {
  const write = stream.write.bind(stream)
  stream.write = ((...args: Parameters<typeof write>) => {
    work()
    return write(...args)
  }) as typeof write
}

function createCluster(nodes: string[], common: CommonOptions): Cluster {
  return new Cluster(nodes.map(hostAndPort), {
    redisOptions: common,
    enableOfflineQueue: false,
    // It asks one node, any: where that is the one that is away, a process that starts would wait until it is back.
    enableReadyCheck: false,
    slotsRefreshTimeout: CONNECT_MS,
    clusterRetryStrategy: backoff,
    clusterNodeRetryStrategy: backoff,
    retryDelayOnFailover: RECONNECT.firstMs,
    // Certificates name hosts: don't turn the names into addresses.
    ...(common.tls && { dnsLookup: (address, done) => done(null, address) }),
  })
}

function createBehindSentinels(sentinel: NonNullable<RedisConfig['sentinel']>, common: CommonOptions): Redis {
  return new Redis({
    ...common,
    ...queueNothing,
    sentinels: sentinel.nodes.map(hostAndPort),
    name: sentinel.name,
    ...(sentinel.username !== undefined && { sentinelUsername: sentinel.username }),
    ...(sentinel.password !== undefined && { sentinelPassword: sentinel.password }),
    ...(common.tls && { enableTLSForSentinelMode: true }),
    ...((sentinel.tls ?? common.tls) && { sentinelTLS: common.tls ?? {} }),
    sentinelRetryStrategy: backoff,
    // Still connected to what was the master before a failover.
    reconnectOnError: (error: Error) => error.message.includes('READONLY'),
  })
}

/** A second connection for what is published: a connection that listens can't send commands. */
export function createSubscriber(client: RedisClient): RedisClient {
  if (!(client instanceof Redis)) return client
  const subscriber = client.duplicate({ enableOfflineQueue: true, maxRetriesPerRequest: null })
  subscriber.on('error', () => undefined)
  hearAllErrors(subscriber)
  takeNewestPassword(subscriber, passwordFiles.get(client))
  onEachConnection(subscriber, watchSilence)
  return subscriber
}

/**
 * Ends the connection that carries a subscription, without a word to a server that may not hear; another one follows.
 */
export function endSubscription(subscriber: RedisClient): void {
  // A cluster's client keeps it to itself, and has no other way to end it.
  const one =
    subscriber instanceof Redis ? subscriber : (subscriber as unknown as WithSubscriber).subscriber?.getInstance()
  one?.stream?.destroy()
}

type WithSubscriber = { subscriber?: { getInstance(): Redis | null } }

const backoff = (times: number) =>
  Math.min(RECONNECT.maxMs, RECONNECT.firstMs * 2 ** Math.min(times, 10)) * (0.75 + Math.random() / 2)

const queueNothing = {
  // `createRedis` connects, when all who listen are there.
  lazyConnect: true,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  retryStrategy: backoff,
} satisfies RedisOptions

type CommonOptions = ReturnType<typeof commonOptions>

function commonOptions({ username, password, tls }: RedisConfig) {
  return {
    connectionName: 'persona-router',
    connectTimeout: CONNECT_MS,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: tlsOptions(tls) }),
  } satisfies RedisOptions
}

function tlsOptions(tls: NonNullable<RedisConfig['tls']>): ConnectionOptions {
  return {
    rejectUnauthorized: tls.reject_unauthorized,
    ...(tls.ca_file !== undefined && { ca: readFileSync(tls.ca_file) }),
    ...(tls.cert_file !== undefined && { cert: readFileSync(tls.cert_file) }),
    ...(tls.key_file !== undefined && { key: readFileSync(tls.key_file) }),
  }
}

function urlOf({ url }: RedisConfig): string {
  // Checked with the configuration (config/cross-check.ts).
  if (url === undefined) throw new Error("store: a Redis needs one of 'url', 'cluster' and 'sentinel'.")
  return url
}

/** `host`, `host:port`, `[v6]:port`. */
function hostAndPort(address: string): { host: string; port: number } {
  const { hostname, port } = new URL(`redis://${address}`)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 6379 : Number(port) }
}
