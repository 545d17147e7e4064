import { createHash, createHmac, randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { GatewayError, invalidRequest } from '../errors.ts'
import type { Metrics } from '../observability/metrics.ts'
import { openUnder, sealUnder } from '../runtime/seal.ts'
import { inSlices } from '../runtime/slices.ts'
import { type Claim, type Idempotency, MAX_REPLAY_BYTES } from '../store/limits.ts'
import { StoreError } from '../store/store.ts'
import { deploymentOf } from './address.ts'
import type { Call } from './call.ts'
import { type CapturedResponse, captureResponse } from './capture-response.ts'
import type { RequestContext } from './context.ts'
import { headerText } from './principal.ts'
import type { Quota } from './quota/quota.ts'

const KEEP_MS = 86_400_000
const CLAIM_MARGIN_MS = 60_000
const MAX_KEY_BYTES = 255

export interface IdempotencyDeps {
  store: { idempotency: Idempotency }
  quota: Quota
  metrics: Metrics
}

/** A claimed `Idempotency-Key`: this request is the one that is answered. */
export interface Claimed {
  /**
   * To be called when the answer has ended. A whole and good one is kept for the next request with this key; otherwise
   * the key is free again.
   */
  end(isWhole: boolean): void
}

/**
 * Finds out whether this request has been answered before (draft-ietf-httpapi-idempotency-key-header; keys are the
 * tenant's).
 *
 * @returns `replayed` where the kept answer has been sent; null where the request has no key, or the store can't tell
 * and `idempotency.when_store_is_away` is `forward`
 * @throws GatewayError 409 while the first one is in work; 422 when the key was used for another body; 429 where a kept
 * answer would be a request too many; 503 when the store can't tell
 */
export function claimIdempotencyKey(
  deps: IdempotencyDeps,
  context: RequestContext,
  call: Call,
): Promise<Claimed | 'replayed' | null> | null {
  const key = headerText(context.incoming, 'idempotency-key')
  return key ? claim(deps, context, call, key) : null
}

async function claim(
  { store: { idempotency }, quota, metrics }: IdempotencyDeps,
  context: RequestContext,
  { endpoint, raw, principal }: Call,
  key: string,
): Promise<Claimed | 'replayed' | null> {
  const { incoming, outgoing, snapshot } = context
  const { config } = snapshot
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw invalidRequest(`Invalid 'idempotency-key': at most ${MAX_KEY_BYTES} bytes.`, 'idempotency-key')
  }
  const tenant = principal.tenant.name
  const { user } = principal
  const asked = `${user}\0${endpoint.name}\0${deploymentOf(incoming) ?? ''}\0`
  const asks = createHash('sha256').update(asked)
  // Of what the client sends again to get the answer again, and the store does not have.
  const seals = createHmac('sha256', key).update('replay\0').update(asked)
  for await (const slice of inSlices([raw])) {
    asks.update(slice)
    seals.update(slice)
  }
  const bodyHash = asks.digest('base64url')
  const seal = seals.digest()
  const token = randomUUID()
  const ttlMs = config.timeouts.total_ms + CLAIM_MARGIN_MS
  const keeping = { keepMs: KEEP_MS, maxBytes: config.idempotency.max_bytes }
  const end = (response: Buffer | null) => {
    const done = response
      ? idempotency.complete(tenant, key, token, response, keeping)
      : idempotency.release(tenant, key, token)
    done.catch(() => metrics.storeErrors.inc({ call: 'complete' }))
  }
  const capturing = (): Claimed => {
    const captured = captureResponse(outgoing, MAX_REPLAY_BYTES)
    const kept = () => {
      const bytes = packed(captured())
      return bytes && Buffer.concat([SEALED, sealUnder(seal, bytes, tenant)])
    }
    return { end: (isWhole) => end(isWhole ? kept() : null) }
  }
  let claimed: Claim
  try {
    claimed = await idempotency.claim({ tenant, user, key, bodyHash, token, askedAt: context.ts, ttlMs })
  } catch (error) {
    metrics.storeErrors.inc({ call: 'claim' })
    const mayBeOurs = error instanceof StoreError && error.mayBeDone
    if (config.idempotency.when_store_is_away === 'forward') return mayBeOurs ? capturing() : null
    if (mayBeOurs) end(null)
    throw cannotTell()
  }
  switch (claimed.state) {
    case 'in_flight':
      throw conflict()
    case 'mismatch':
      throw reused()
    case 'done': {
      // It costs no tokens, but counts as a request.
      const grant = await quota.reserveRequest(context, principal)
      replay(outgoing, opened(claimed.response, seal, tenant))
      grant.settle()
      return 'replayed'
    }
    case 'claimed':
      return capturing()
  }
}

/** Before sealed answers; those of earlier versions are not sealed, and begin with a brace. */
const SEALED = Buffer.of(1)

function opened(kept: Buffer, seal: Buffer, tenant: string): Buffer {
  const bytes = kept[0] === SEALED[0] ? openUnder(seal, kept.subarray(1), tenant) : kept
  if (!bytes) throw cannotTell()
  return bytes
}

/** Head as a line of JSON, then the body. */
function packed({ status, headers, body }: CapturedResponse): Buffer | null {
  return body && Buffer.concat([Buffer.from(`${JSON.stringify({ status, headers })}\n`), body])
}

function replay(outgoing: ServerResponse, response: Buffer): void {
  const newline = response.indexOf(0x0a)
  const { status, headers } = JSON.parse(response.toString('utf8', 0, newline)) as {
    status: number
    headers: Record<string, string>
  }
  outgoing.writeHead(status, { ...headers, 'idempotency-replayed': 'true' })
  outgoing.end(response.subarray(newline + 1))
}

const conflict = () =>
  new GatewayError('A request with this Idempotency-Key is in progress.', {
    status: 409,
    type: 'invalid_request_error',
    code: 'idempotency_conflict',
    param: 'idempotency-key',
    retryAfterS: 1,
  })

/** At most one answer was asked for, and whether there was one is unknown: refuse. */
const cannotTell = () =>
  new GatewayError('Whether a request with this Idempotency-Key was answered before cannot be told right now.', {
    status: 503,
    type: 'api_error',
    code: 'idempotency_unavailable',
    param: 'idempotency-key',
    retryAfterS: 1,
  })

const reused = () =>
  new GatewayError('This Idempotency-Key was used for a different request.', {
    status: 422,
    type: 'invalid_request_error',
    code: 'idempotency_key_reused',
    param: 'idempotency-key',
  })
