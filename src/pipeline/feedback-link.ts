import type { Seal } from '../runtime/seal.ts'
import type { Call } from './call.ts'
import type { RequestContext } from './context.ts'

/** An answer that may be rated by whoever has its link. */
export interface Rated {
  tenant: string
  /** As stored. */
  user: string
  interaction: string
}

const CONTEXT = 'feedback-link'
const DAY_MS = 86_400_000

/** `x-router-feedback-url`, where links are configured: no other secret is needed to rate this one answer. */
export function feedbackLink(
  seal: Seal,
  { requestId, ts, snapshot }: RequestContext,
  call: Call,
): Record<string, string> {
  const { link_base_url: base, link_ttl_days: days } = snapshot.config.feedback
  if (base === undefined) return {}
  const { tenant, user } = call.principal
  const token = sealRated(seal, { tenant: tenant.name, user, interaction: requestId }, ts + days * DAY_MS)
  return { 'x-router-feedback-url': `${base.replace(/\/+$/, '')}/rate/${token}` }
}

export const sealRated = (seal: Seal, { tenant, user, interaction }: Rated, expiresAt: number): string =>
  seal.seal(Buffer.from(JSON.stringify([interaction, tenant, user, expiresAt])), CONTEXT).toString('base64url')

/** What a link is for; null where it is not one of ours, or has expired. @param now Unix milliseconds */
export function openRated(seal: Seal, token: string, now: number): Rated | null {
  if (!/^[\w-]{40,1024}$/.test(token)) return null
  const sealed = Buffer.from(token, 'base64url')
  // Decoding passes over the last letter's unused bits (RFC 4648, section 3.5): one token has one spelling.
  if (sealed.toString('base64url') !== token) return null
  const bytes = seal.open(sealed, CONTEXT)
  if (!bytes) return null
  const [interaction, tenant, user, expiresAt] = JSON.parse(bytes.toString('utf8')) as [string, string, string, number]
  return expiresAt > now ? { interaction, tenant, user } : null
}
