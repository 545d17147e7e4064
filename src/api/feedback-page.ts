import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Snapshot } from '../config/snapshot.ts'
import { invalidRequest } from '../errors.ts'
import type { RewardDeps } from '../learning/take-reward.ts'
import { openRated } from '../pipeline/feedback-link.ts'
import type { HeldBytes } from '../pipeline/held-bytes.ts'
import type { Quota } from '../pipeline/quota/quota.ts'
import type { RequestIds } from '../pipeline/request-ids.ts'
import type { Seal } from '../runtime/seal.ts'
import { StoreError } from '../store/store.ts'
import { readSmallBody } from './body.ts'
import { foundWithinMs, mayBeOnItsWay, rate, tooMuchWaits } from './feedback.ts'
import type { PendingFeedback } from './pending-feedback.ts'

export interface FeedbackPageDeps extends RewardDeps {
  snapshot(): Snapshot
  seal: Seal
  quota: Quota
  heldBytes: HeldBytes
  requestIds: RequestIds
  pendingFeedback: PendingFeedback
}

/** No script, no style of others, no frame around it; the address, which is the permission, is told to nobody. */
const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-robots-tag': 'noindex, nofollow',
  'cache-control': 'no-store',
}

/** `GET /rate/{token}`: asks; changes nothing, since whatever previews a link opens it. */
export function askForFeedback({ seal }: FeedbackPageDeps, token: string): Response {
  if (!openRated(seal, token, Date.now())) return page(404, GONE)
  return page(
    200,
    `<p>How was this answer?</p>
<form method="post"><button name="rating" value="up">Good</button> <button name="rating" value="down">Bad</button></form>`,
  )
}

/**
 * `POST /rate/{token}`: rates the one answer that the link is for. The form is as browsers send it
 * (`application/x-www-form-urlencoded`); without a good link it is not read. Where the answer is not found yet, at this
 * replica, or the store is away, the rating is accepted all the same, and tried again.
 *
 * @throws GatewayError 400, 429; 503 where too much waits already. @throws StoreError
 */
export async function takePageFeedback(
  deps: FeedbackPageDeps,
  token: string,
  { incoming, outgoing }: { incoming: IncomingMessage; outgoing: ServerResponse },
): Promise<Response> {
  const rated = openRated(deps.seal, token, Date.now())
  const snapshot = deps.snapshot()
  const tenant = rated && snapshot.tenants.get(rated.tenant)
  if (!tenant) return page(404, GONE)
  const requestId = `rate_${randomUUID()}`
  await deps.quota.countOther({ requestId, snapshot }, { tenant, keyId: null, user: rated.user })
  const held = deps.heldBytes.openFor(outgoing, rated.tenant)
  const form = await readSmallBody({ incoming, outgoing, snapshot, held })
  const rating = new URLSearchParams(form.toString('utf8')).get('rating')
  if (rating !== 'up' && rating !== 'down') throw invalidRequest(`Invalid 'rating': expected 'up' or 'down'.`, 'rating')
  const now = Date.now()
  const take = async (): Promise<'taken' | 'gone' | 'not found'> => {
    const interaction = await deps.recorder.findInteraction(rated.tenant, rated.interaction)
    if (!interaction) return 'not found'
    if (interaction.user !== rated.user) return 'gone'
    await rate(deps, { rating }, interaction, now)
    return 'taken'
  }
  const isOnItsWay = mayBeOnItsWay(deps.requestIds.timeOf(rated.tenant, rated.interaction), now, snapshot)
  const later = () =>
    deps.pendingFeedback.add(rated.tenant, async () => (await take()) !== 'not found', foundWithinMs(snapshot))
  try {
    const done = await take()
    if (done === 'gone' || (done === 'not found' && !isOnItsWay)) return page(404, GONE)
    if (done === 'not found' && !later()) throw tooMuchWaits()
  } catch (error) {
    if (!(error instanceof StoreError && later())) throw error
  }
  return page(200, '<p>Thank you.</p>')
}

const GONE = '<p>This link is not valid, or has expired.</p>'

const page = (status: number, body: string) =>
  new Response(
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Feedback</title><style>body{font:1.2em system-ui;margin:4em auto;max-width:20em;text-align:center}button{font:inherit;padding:.5em 1.5em}</style>
${body}</html>`,
    { status, headers: HEADERS },
  )
