import type { UserIds } from '../../candidates/tenants.ts'
import { badGateway, GatewayError } from '../../errors.ts'
import type { Erasures } from '../../learning/erasures.ts'
import type { Logger } from '../../observability/logger.ts'
import type { Metrics } from '../../observability/metrics.ts'
import { errorBodyOf, parseJson } from '../../openai/error.ts'
import { isObject } from '../../openai/is-object.ts'
import { ToldUsage } from '../../openai/told-usage.ts'
import type { Admission } from '../../pipeline/admission.ts'
import { logAnswer } from '../../pipeline/after-answer.ts'
import type { RequestContext } from '../../pipeline/context.ts'
import { type Principal, principalOf } from '../../pipeline/principal.ts'
import type { Quota } from '../../pipeline/quota/quota.ts'
import { Deadline } from '../../providers/forward/deadline.ts'
import { clientGone } from '../../providers/forward/failure.ts'
import { readAll } from '../../providers/http/read-all.ts'
import { type PassCall, type ProviderAnswer, UpstreamError } from '../../providers/provider.ts'
import { Sink } from '../../providers/relay/sink.ts'
import type { Recorder } from '../../store/recorder/recorder.ts'
import { readBody } from '../body.ts'
import { Upload } from '../upload.ts'
import { amountsOf, leastAmounts, type Passed, passedRecord } from './record.ts'
import { sentHeaders, type Target, targetOf, toldHeaders } from './target.ts'

export interface PassthroughDeps {
  userIds: UserIds
  admission: Admission
  quota: Quota
  recorder: Recorder
  erasures: Erasures
  metrics: Metrics
  log: Logger
}

const MAX_ERROR_BYTES = 256 * 1024
/** Smaller bodies are read before they are sent on, so that a connection that broke can be tried again. */
const MAX_READ_BYTES = 64 * 1024

/**
 * What is configured to go to a provider as it is (`passthrough`): with a key of ours, under the limits of requests,
 * counted and recorded; nothing is chosen or converted.
 *
 * @throws GatewayError while nothing has been sent
 */
export async function passThrough(deps: PassthroughDeps, context: RequestContext): Promise<void> {
  const target = targetOf(context)
  const principal = principalOf(context.snapshot, deps.userIds, context.caller, context.incoming)
  deps.quota.refuseKnown(context, principal)
  const pass = new Pass(context, target)
  const { body, model } = await bodyOf(context, target, () => pass.heard())
  const grant = await deps.quota.reserveRequest(context, principal, (left) => leastAmounts(target, left))
  try {
    await deps.admission.run(principal.tenant.config.priority, context.signal, () => pass.run(body, grant.headers))
  } catch (error) {
    throw pass.asTold(body instanceof Upload && body.error ? body.error : error)
  } finally {
    const record = note(deps, context, principal, target, { ...pass.passed, model })
    grant.settle(amountsOf(record))
  }
}

function note(deps: PassthroughDeps, context: RequestContext, principal: Principal, target: Target, passed: Passed) {
  const record = passedRecord(context, principal, target, passed)
  const { tenant, user, ts } = record
  const status = passed.answered ?? 0
  deps.metrics.passed.inc({ tenant, provider: target.config.provider, prefix: target.prefix, status })
  deps.metrics.observe(record)
  logAnswer(deps.log, record)
  if (!deps.erasures.happened(tenant, user, ts)) void deps.recorder.interaction(record)
  return record
}

async function bodyOf(
  context: RequestContext,
  { config }: Target,
  onBytes: () => void,
): Promise<{ body: PassCall['body']; model: string | null }> {
  const { headers } = context.incoming
  const isChunked = headers['transfer-encoding'] !== undefined
  if (isChunked || Number(headers['content-length'] ?? 0) > MAX_READ_BYTES) {
    return { body: new Upload(context, config.max_body_bytes, onBytes), model: null }
  }
  const body = await readBody(context, Math.min(config.max_body_bytes, MAX_READ_BYTES))
  const json = /json/i.test(headers['content-type'] ?? '') ? parseJson(body) : null
  return { body, model: isObject(json) && typeof json.model === 'string' ? json.model : null }
}

/** One request on its way to a provider, and its answer on the way back. */
class Pass {
  readonly passed: Omit<Passed, 'model'> = {
    status: 500,
    answered: null,
    error: 'internal',
    ttftMs: null,
    waitedMs: 0,
    told: null,
  }
  readonly #context: RequestContext
  readonly #target: Target
  readonly #abort = new AbortController()
  #first: Deadline | null = null

  constructor(context: RequestContext, target: Target) {
    this.#context = context
    this.#target = target
  }

  /** The client is still sending: the provider can't have answered yet. */
  heard(): void {
    this.#first?.move(performance.now() + this.#context.snapshot.config.timeouts.answer_ms)
  }

  async run(body: PassCall['body'], limitHeaders: Record<string, string>): Promise<void> {
    const { snapshot, signal, startedAt, incoming, requestId } = this.#context
    const { provider, method, path, query } = this.#target
    const { timeouts } = snapshot.config
    const total = this.#deadline(startedAt + timeouts.total_ms, 'the answer took too long')
    const first = this.#deadline(performance.now() + timeouts.answer_ms, 'the answer did not come in time')
    this.#first = first
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#onAbort()
    const from = performance.now()
    try {
      const headers = sentHeaders(incoming.headers)
      const call = { method, path, query, headers, body, signal: this.#abort.signal, requestId }
      const answer = await provider.pass(call)
      first.clear()
      this.passed.answered = answer.status
      this.passed.waitedMs = performance.now() - from
      await this.#tell(answer, limitHeaders)
      this.passed.error = null
    } finally {
      signal.removeEventListener('abort', this.#onAbort)
      total.clear()
      first.clear()
    }
  }

  /** An error as the client is told, and as it is recorded. */
  asTold(error: unknown): unknown {
    const { signal, outgoing } = this.#context
    const fault = error instanceof UpstreamError ? error.fault : null
    // Where the process ends, the signal's reason says so.
    const told = fault === 'aborted' && signal.reason instanceof GatewayError ? signal.reason : asGatewayError(error)
    this.passed.error = fault ?? (told instanceof GatewayError ? (told.code ?? 'refused') : 'internal')
    if (outgoing.headersSent) this.passed.status = outgoing.statusCode
    else this.passed.status = told instanceof GatewayError ? told.status : 500
    return told
  }

  readonly #onAbort = () =>
    this.#abort.abort(new UpstreamError('aborted', 'the client left', this.#context.signal.reason))

  #deadline(at: number, message: string): Deadline {
    return new Deadline(at, () => this.#abort.abort(new UpstreamError('timeout', message)))
  }

  async #tell({ status, headers, body }: ProviderAnswer, limitHeaders: Record<string, string>): Promise<void> {
    if (status === 401 || status === 403 || (status >= 300 && status < 400 && status !== 304)) throw refused()
    const { outgoing, requestId, startedAt } = this.#context
    const own = { ...limitHeaders, 'x-request-id': requestId, 'x-router-provider': this.#target.config.provider }
    this.passed.status = status
    if (status >= 400) {
      const error = errorBodyOf(status, await readAll(body, MAX_ERROR_BYTES))
      outgoing.writeHead(status, { ...toldHeaders(headers), 'content-type': 'application/json', ...own })
      outgoing.end(error)
      return
    }
    outgoing.writeHead(status, { ...toldHeaders(headers), ...own })
    const told = new ToldUsage(headers['content-type'])
    this.passed.told = told
    const { signal, snapshot } = this.#context
    const writeIdleMs = snapshot.config.server.write_idle_timeout_ms
    const sink = new Sink(outgoing, { signal, writeIdleMs, onLeave: this.#onAbort })
    try {
      for await (const chunk of body) {
        told.push(chunk)
        if (!(await sink.send(chunk))) throw new UpstreamError('aborted', 'the client left')
      }
      told.end()
      outgoing.end()
    } finally {
      sink.release()
      this.passed.ttftMs = sink.firstByteAt === null ? null : sink.firstByteAt - startedAt
      this.passed.waitedMs += sink.waitedMs
    }
  }
}

/** The client's key is fine, ours is not; or it would send the client elsewhere. */
const refused = () => badGateway("The model's provider refused the gateway.")

function asGatewayError(error: unknown): unknown {
  if (!(error instanceof UpstreamError)) return error
  if (error.fault === 'aborted') return clientGone()
  const isLate = error.fault === 'timeout'
  return new GatewayError(isLate ? "The provider's answer took too long." : 'The provider could not be reached.', {
    status: isLate ? 504 : 502,
    type: 'api_error',
    code: isLate ? 'upstream_timeout' : 'upstream_error',
  })
}
