import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Logger } from './logger.ts'
import type { Metrics } from './metrics.ts'

/** Whom to tell of what an operator should know of, as it happens. */
export const webhookSchema = z.strictObject({
  url: z.url({ protocol: /^https?$/ }),
  /** Of the signature: `whsec_` and 24 to 64 bytes in base64; without one messages are not signed. */
  secret: z
    .string()
    .regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, 'whsec_ and 24 to 64 bytes in base64')
    .optional(),
  secret_file: z.string().optional(),
  timeout_ms: z.number().int().positive().default(10_000),
})

export type WebhookConfig = z.infer<typeof webhookSchema>

/** What happened, by names and figures: no user, no text. */
export type Occurrence =
  | { type: 'gain.verdict'; data: { tenant: string; policy: string; baseline: string; users: string } & Verdict }
  | { type: 'evidence.surge'; data: { tenant: string; candidate: string; users: number; mean: number } }
  | { type: 'artifact.refused'; data: { reason: string } }
  | { type: 'config.refused'; data: { problems: readonly string[] } }

interface Verdict {
  verdict: 'gain' | 'harm' | 'open'
  /** The gain in reward, -1 to 1 each; and the ratings that it was read from. */
  low: number
  high: number
  ratings: number
}

/** Waits before a message is sent again; the specification advises to go on for hours, which outlives most replicas. */
const RETRY_AFTER_MS = [1_000, 5_000, 30_000, 120_000]
const MAX_WAITING = 100
const DAY_MS = 86_400_000

/**
 * Sends messages by the Standard Webhooks specification. Replicas find out the same things: one of a day has one
 * `webhook-id`, by which a receiver knows it again.
 *
 * Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export class Webhook {
  readonly #config: () => WebhookConfig | undefined
  readonly #metrics: Pick<Metrics, 'webhookErrors'>
  readonly #log: Pick<Logger, 'warn'>
  readonly #retryAfterMs: readonly number[]
  readonly #closing = new AbortController()
  #waiting = 0

  constructor(
    config: () => WebhookConfig | undefined,
    {
      metrics,
      log,
      retryAfterMs = RETRY_AFTER_MS,
    }: {
      metrics: Pick<Metrics, 'webhookErrors'>
      log: Pick<Logger, 'warn'>
      retryAfterMs?: readonly number[]
    },
  ) {
    this.#config = config
    this.#metrics = metrics
    this.#log = log
    this.#retryAfterMs = retryAfterMs
  }

  /** Resolves when it was taken, or given up on; never rejects. */
  async tell(occurrence: Occurrence): Promise<void> {
    const config = this.#config()
    if (!config || this.#waiting >= MAX_WAITING) return
    this.#waiting++
    const at = new Date()
    const body = JSON.stringify({ type: occurrence.type, timestamp: at.toISOString(), data: occurrence.data })
    const id = `msg_${hash('sha256', identityOf(occurrence, at), 'hex').slice(0, 32)}`
    try {
      for (const pause of [...this.#retryAfterMs, null]) {
        const last = pause === null || this.#closing.signal.aborted
        const problem = await this.#send(config, id, body)
        if (problem === null) return
        if (last) {
          this.#metrics.webhookErrors.inc()
          this.#log.warn({ type: occurrence.type, problem }, 'the webhook takes nothing')
          return
        }
        await sleep(pause, undefined, { signal: this.#closing.signal, ref: false }).catch(() => undefined)
      }
    } finally {
      this.#waiting--
    }
  }

  /** What waits for another try, or is being tried, is tried once more where it fails. */
  close(): void {
    this.#closing.abort()
  }

  /** @returns what went wrong, or null */
  async #send({ url, secret, timeout_ms }: WebhookConfig, id: string, body: string): Promise<string | null> {
    const at = new Date()
    try {
      // Loaded when there is something to tell.
      const { Webhook: Signer } = await import('standardwebhooks')
      const response = await fetch(url, {
        method: 'POST',
        redirect: 'error',
        signal: AbortSignal.timeout(timeout_ms),
        headers: {
          'content-type': 'application/json',
          'webhook-id': id,
          'webhook-timestamp': String(Math.floor(at.getTime() / 1e3)),
          ...(secret !== undefined && { 'webhook-signature': new Signer(secret).sign(id, at, body) }),
        },
        body,
      })
      await response.body?.cancel()
      return response.ok ? null : `status ${response.status}`
    } catch (error) {
      return (error as Error).name
    }
  }
}

/** What is the same of one occurrence at every replica. */
function identityOf(occurrence: Occurrence, at: Date): string {
  const day = Math.floor(at.getTime() / DAY_MS)
  if (occurrence.type !== 'gain.verdict') return JSON.stringify([day, occurrence])
  const { tenant, policy, baseline, users, verdict } = occurrence.data
  return JSON.stringify([day, occurrence.type, tenant, policy, baseline, users, verdict])
}
