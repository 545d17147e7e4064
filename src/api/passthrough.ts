import type { IncomingHttpHeaders } from 'node:http'
import type { UserIds } from '../candidates/tenants.ts'
import { GatewayError, invalidRequest } from '../errors.ts'
import type { Logger } from '../observability/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import { errorBodyOf } from '../openai/error.ts'
import type { Admission } from '../pipeline/admission.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { principalOf } from '../pipeline/principal.ts'
import type { Quota } from '../pipeline/quota/quota.ts'
import { Deadline } from '../providers/forward/deadline.ts'
import { readAll } from '../providers/http/read-all.ts'
import { type PassMethod, type ProviderAnswer, UpstreamError } from '../providers/provider.ts'
import { Sink } from '../providers/relay/sink.ts'
import { readBody } from './body.ts'

export interface PassthroughDeps {
  userIds: UserIds
  admission: Admission
  quota: Quota
  metrics: Metrics
  log: Logger
}

const METHODS = new Set<string>(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** Of the client's headers, those that say what the body is and what is wanted; all others are ours or its own. */
const SENT = ['accept', 'content-type', 'accept-language', 'openai-beta', 'range', 'if-none-match', 'if-range']
/** Of the provider's. */
const TOLD = /^(content-type|content-disposition|content-range|accept-ranges|etag|last-modified|retry-after|openai-)/

const MAX_ERROR_BYTES = 256 * 1024

/** Whether a configured prefix covers a request that no route takes. */
export const isPassedThrough = (context: RequestContext): boolean => targetOf(context) !== null

interface Target {
  prefix: string
  provider: string
  /** Behind the provider's base URL. */
  path: string
}

/** The longest prefix wins. The configuration alone says who is asked; the client says what behind the prefix. */
function targetOf({ snapshot, incoming }: RequestContext): Target | null {
  const { passthrough } = snapshot.config
  const [path = ''] = (incoming.url ?? '').split('?', 1)
  const prefix = Object.keys(passthrough)
    .filter((each) => path.startsWith(each) || `${path}/` === each)
    .sort((a, b) => b.length - a.length)[0]
  const provider = prefix === undefined ? undefined : passthrough[prefix]
  if (prefix === undefined || provider === undefined) return null
  return { prefix, provider, path: path.slice('/v1'.length) }
}

/** What a server behind the provider might take for a way out of the prefix, or for another host. */
const WAY_OUT = /(^|\/)\.{1,2}(\/|$)|\\|%2e|%2f|%5c|%00|;|[^\x21-\x7e]/i

/**
 * What is configured to go to a provider as it is (`passthrough`): with a key of ours, under the limits of requests,
 * and counted; nothing is chosen, converted or recorded.
 *
 * @throws GatewayError while nothing has been sent
 */
export async function passThrough(deps: PassthroughDeps, context: RequestContext): Promise<void> {
  const { snapshot, incoming, caller, signal, requestId, startedAt, outgoing } = context
  const target = targetOf(context)
  const provider = target && snapshot.providers.get(target.provider)
  if (!target || !provider?.pass || provider.unavailable !== null) throw unavailable()
  const method = incoming.method ?? ''
  if (!METHODS.has(method)) throw invalidRequest(`The method '${method.slice(0, 16)}' is not passed on.`)
  if (WAY_OUT.test(target.path)) throw invalidRequest('The path is not one that is passed on.')
  const principal = principalOf(snapshot, deps.userIds, caller, incoming)
  const { write_idle_timeout_ms } = snapshot.config.server
  const { timeouts } = snapshot.config
  const body = await readBody(context)
  deps.quota.refuseKnown(context, principal)
  const grant = await deps.quota.reserveRequest(context, principal)
  const abort = new AbortController()
  const onAbort = () => abort.abort(new UpstreamError('aborted', 'the client left', signal.reason))
  const total = new Deadline(startedAt + timeouts.total_ms, () =>
    abort.abort(new UpstreamError('timeout', 'the answer took too long')),
  )
  const first = new Deadline(performance.now() + timeouts.answer_ms, () =>
    abort.abort(new UpstreamError('timeout', 'the answer did not come in time')),
  )
  let status = 0
  try {
    await deps.admission.enter(principal.tenant.config.priority, signal)
    try {
      signal.addEventListener('abort', onAbort, { once: true })
      if (signal.aborted) onAbort()
      const answer = await provider.pass({
        method: method as PassMethod,
        path: target.path,
        query: queryOf(incoming.url ?? ''),
        headers: sentHeaders(incoming.headers),
        body,
        signal: abort.signal,
        requestId,
      })
      first.clear()
      status = answer.status
      await tell(answer)
    } finally {
      deps.admission.leave()
    }
  } catch (error) {
    throw error instanceof UpstreamError ? failed(error) : error
  } finally {
    signal.removeEventListener('abort', onAbort)
    total.clear()
    first.clear()
    grant.settle()
    deps.metrics.passed.inc({ tenant: principal.tenant.name, provider: target.provider, prefix: target.prefix, status })
    deps.log.info(
      { request: requestId, tenant: principal.tenant.name, passed: target.prefix, status },
      'passed through',
    )
  }

  async function tell({ status: told, headers, body: bytes }: ProviderAnswer): Promise<void> {
    if (told === 401 || told === 403 || (told >= 300 && told < 400)) throw refused()
    const own = { ...grant.headers, 'x-request-id': requestId, 'x-router-provider': target?.provider ?? '' }
    if (told >= 400) {
      const error = errorBodyOf(told, await readAll(bytes, MAX_ERROR_BYTES))
      outgoing.writeHead(told, { ...toldHeaders(headers), 'content-type': 'application/json', ...own })
      outgoing.end(error)
      return
    }
    outgoing.writeHead(told, { ...toldHeaders(headers), ...own })
    const sink = new Sink(outgoing, { signal, writeIdleMs: write_idle_timeout_ms, onLeave: onAbort })
    try {
      for await (const chunk of bytes) {
        if (!(await sink.send(chunk))) throw new UpstreamError('aborted', 'the client left')
      }
      outgoing.end()
    } finally {
      sink.release()
    }
  }
}

/** Azure's versions are the provider's own business, in its configuration. */
function queryOf(url: string): string {
  const at = url.indexOf('?')
  if (at < 0) return ''
  const query = new URLSearchParams(url.slice(at + 1))
  query.delete('api-version')
  return query.size === 0 ? '' : query.toString()
}

function sentHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    SENT.flatMap((name) => {
      const value = headers[name]
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
}

const toldHeaders = (headers: Record<string, string>) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => TOLD.test(name)))

const unavailable = () =>
  new GatewayError('The provider of this path is not available.', {
    status: 503,
    type: 'api_error',
    code: 'provider_unavailable',
  })

/** The client's key is fine, ours is not; or it would send the client elsewhere. */
const refused = () =>
  new GatewayError("The model's provider refused the gateway.", {
    status: 502,
    type: 'api_error',
    code: 'upstream_error',
  })

const failed = ({ fault }: UpstreamError) =>
  new GatewayError(
    fault === 'timeout' ? "The provider's answer took too long." : 'The provider could not be reached.',
    {
      status: fault === 'timeout' ? 504 : 502,
      type: 'api_error',
      code: fault === 'timeout' ? 'upstream_timeout' : 'upstream_error',
    },
  )
