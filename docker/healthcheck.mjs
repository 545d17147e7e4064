// Exit code 0 when the gateway in this container answers, wherever its configuration says that it listens.
import { request as http } from 'node:http'
import { request as https } from 'node:https'
import { loadConfig } from '../src/config/load.ts'

/** A wildcard is listened on, not called. */
const LOCAL = { '0.0.0.0': '127.0.0.1', '::': '::1' }

/** A file that broke since the start keeps nobody from being served: then the usual place, with TLS and without. */
function places() {
  try {
    const {
      host: configured,
      port,
      tls,
    } = loadConfig(process.env.PERSONA_ROUTER_CONFIG ?? 'config/gateway.yaml').config.server
    const host = configured.replace(/^\[(.*)\]$/, '$1')
    return [{ ask: tls ? https : http, host: LOCAL[/** @type {keyof typeof LOCAL} */ (host)] ?? host, port }]
  } catch {
    return [http, https].map((ask) => ({ ask, host: 'localhost', port: Number(process.env.PORT || 8787) }))
  }
}

/** @param {ReturnType<typeof places>[number]} place */
const answers = ({ ask, host, port }) =>
  new Promise((done) => {
    // The certificate is for the name that clients call.
    const options = { host, port, path: '/healthz', timeout: 2_500, rejectUnauthorized: false }
    const asked = ask(options, ({ statusCode }) => done(statusCode === 200))
    asked
      .on('timeout', () => done(false))
      .on('error', () => done(false))
      .end()
  })

const all = await Promise.all(places().map(answers))
process.exit(all.includes(true) ? 0 : 1)
