import { readFileSync } from 'node:fs'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { S3 } from '@aws-sdk/client-s3'

const CONNECT_MS = 10_000
/** Of silence on a connection. */
const SOCKET_MS = 60_000
const ATTEMPTS = 5
/** What an endpoint that has no regions expects as its name. */
const NO_REGION = 'us-east-1'
const NEVER_PROXIED = ['localhost', '127.0.0.1', '[::1]', '::1']

/**
 * Keys, region and endpoint come from where every program of AWS has them: `AWS_*` of the environment, the files under
 * `~/.aws`, a web identity, the container's or the machine's role.
 */
export function makeClient(env: NodeJS.ProcessEnv = process.env): S3 {
  const endpoint = env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL
  const region = env.AWS_REGION || env.AWS_DEFAULT_REGION || (endpoint ? NO_REGION : undefined)
  return new S3({
    ...(region !== undefined && { region }),
    ...(endpoint ? { endpoint, forcePathStyle: true } : { followRegionRedirects: true }),
    maxAttempts: ATTEMPTS,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: SOCKET_MS,
      httpAgent: new HttpAgent(agentOptions(env)),
      httpsAgent: new HttpsAgent({ ...agentOptions(env), ...authority(env) }),
    },
    logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
  })
}

/** Proxies of the environment, as for everything else that goes out. */
function agentOptions(env: NodeJS.ProcessEnv) {
  const direct = [env.no_proxy ?? env.NO_PROXY ?? '', ...NEVER_PROXIED].filter(Boolean).join(',')
  const proxyEnv = { ...env, NO_PROXY: direct, no_proxy: direct }
  return { keepAlive: true, proxyEnv }
}

/** @throws Error of the file system */
const authority = ({ AWS_CA_BUNDLE: file }: NodeJS.ProcessEnv) => (file ? { ca: readFileSync(file) } : {})
