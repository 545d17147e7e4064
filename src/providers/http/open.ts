import { proxyFor } from '../../runtime/proxy.ts'
import { readTls, type TlsFiles } from '../../runtime/tls.ts'
import { HttpClient } from './client.ts'

/** How a provider is reached, as configured (`httpFields`). */
interface Reach {
  connect_timeout_ms: number
  max_connections: number
  http2: boolean
  proxy?: string | undefined
  tls?: TlsFiles | undefined
}

/** @throws Error of the file system for a TLS file that went since the configuration was read */
export const openHttp = (origin: string, config: Reach): HttpClient =>
  new HttpClient({
    origin,
    connectTimeoutMs: config.connect_timeout_ms,
    maxConnections: config.max_connections,
    proxy: proxyFor(origin, config.proxy),
    tls: readTls(config.tls),
    http2: config.http2,
  })
