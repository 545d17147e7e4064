// Exit code 0 when the gateway in this container answers, wherever its configuration says that it listens.
import { loadConfig } from '../src/config/load.ts'

/** A wildcard is listened on, not called. */
const LOCAL = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }

const { host, port } = loadConfig(process.env.PERSONA_ROUTER_CONFIG ?? 'config/gateway.yaml').config.server
const address = LOCAL[/** @type {keyof typeof LOCAL} */ (host)] ?? (host.includes(':') ? `[${host}]` : host)
const { ok } = await fetch(`http://${address}:${port}/healthz`, { signal: AbortSignal.timeout(2_500) }).catch(() => ({
  ok: false,
}))
process.exit(ok ? 0 : 1)
