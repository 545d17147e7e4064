import { createRequire } from 'node:module'
import type { buildConnector as Connectors, Dispatcher } from 'undici'
import { proxyFor } from './proxy.ts'
import type { TlsMaterial } from './tls.ts'

export interface DispatcherOptions {
  /** Scheme, host and port; taken from the configuration alone. */
  origin: string
  connectTimeoutMs: number
  connections: number
  /** Address of a proxy, credentials included; null for none. */
  proxy: string | null
  tls: TlsMaterial
  http2: boolean
  /** Of an answer's body; unlimited where left out. */
  maxResponseBytes?: number
  /** Wraps whatever opens a connection to the server, or through a proxy to it. */
  connect?: (connector: Connectors.connector) => Connectors.connector
}

type Undici = typeof import('undici')

/** Parts of undici: all of it (fetch, web sockets, mocks) takes 50 ms and 12 MB more of every start. */
const part = createRequire(import.meta.url)
const Pool: Undici['Pool'] = part('undici/lib/dispatcher/pool.js')
const buildConnector: Undici['buildConnector'] = part('undici/lib/core/connect.js')
// As its index does: `request` and the like.
Object.assign(part('undici/lib/dispatcher/dispatcher.js').prototype, part('undici/lib/api/index.js'))

/** Sockets are given up before the usual server limits (60 s and more), so that resets on reuse are rare. */
const KEEP_ALIVE_MS = 30_000
/**
 * How old a connection may grow before new requests get another one: while it is in use nobody asks anew where its host
 * is, and a provider that has moved would be asked at its old address for as long as there is something there.
 */
const MOST_AGE_MS = 5 * 60_000

/**
 * Connections to one origin. Through a proxy: `CONNECT` for https, so that it sees no more than host and port; the
 * whole address for http, as many proxies refuse tunnels to other ports (RFC 9110, 9.3.6; RFC 9112, 3.2.2).
 */
export function openDispatcher(options: DispatcherOptions): Dispatcher {
  const { origin, connectTimeoutMs, connections, proxy, tls, http2, connect = (connector) => connector } = options
  const pool = {
    connections,
    allowH2: http2,
    ...(options.maxResponseBytes !== undefined && { maxResponseSize: options.maxResponseBytes }),
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: 10 * KEEP_ALIVE_MS,
    clientTtl: MOST_AGE_MS,
  }
  const toServer = { timeout: connectTimeoutMs, autoSelectFamily: true, allowH2: http2, ...tls }
  if (proxy === null) return new Pool(origin, { ...pool, connect: connect(buildConnector(toServer)) })
  const ProxyAgent: Undici['ProxyAgent'] = part('undici/lib/dispatcher/proxy-agent.js')
  return new ProxyAgent({
    uri: proxy,
    requestTls: toServer,
    proxyTls: { timeout: connectTimeoutMs, autoSelectFamily: true, allowH2: false },
    // A proxy that takes the connection, and does not answer to CONNECT.
    clientFactory: (to: URL, { connect: toProxy }: { connect: Connectors.connector }) =>
      new Pool(to, { connect: toProxy, headersTimeout: connectTimeoutMs }),
    factory: (to: string, { connect: through }: { connect: Connectors.connector }) =>
      new Pool(to, { ...pool, connect: connect(through) }),
  } as unknown as ConstructorParameters<Undici['ProxyAgent']>[0])
}

/** Sends what uses Node's `fetch` (keys of token issuers, the command line) by the environment's proxies, if any. */
export async function proxyFetch(env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const { Agent, setGlobalDispatcher } = await import('undici')
  setGlobalDispatcher(
    new Agent({
      factory: (origin) => {
        const url = String(origin)
        return openDispatcher({
          origin: url,
          connectTimeoutMs: 10_000,
          connections: 8,
          proxy: proxyFor(url, undefined, env),
          tls: {},
          http2: false,
        })
      },
    }),
  )
}
