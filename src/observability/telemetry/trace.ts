import { randomFillSync } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** What a span tells of the candidate that is asked. */
export interface AskedCandidate {
  readonly name: string
  /** As its provider calls it. */
  readonly model: string
  readonly provider: string
}

/** One try at a provider: a span below the request's. Times are of `performance.now()`. */
export class AttemptSpan {
  readonly id: string
  readonly candidate: AskedCandidate
  /** Headers that let the provider go on with the trace. */
  readonly headers: Record<string, string>
  readonly startedAt = performance.now()
  /** Null while it runs; the try that answered ends with the request. */
  endedAt: number | null = null
  /** HTTP status of the provider, where one came. */
  status: number | null = null
  error: string | null = null
  isAnswer = false

  constructor(id: string, candidate: AskedCandidate, headers: Record<string, string>) {
    this.id = id
    this.candidate = candidate
    this.headers = headers
  }

  answered(status: number): void {
    this.isAnswer = true
    this.status = status
  }

  /** What ended it first counts. */
  failed(status: number | null, error: string): void {
    if (this.endedAt !== null) return
    this.endedAt = performance.now()
    this.status = status
    this.error = error
  }
}

/** How the answer ended, as far as a span tells. */
export interface TracedRecord {
  readonly id: string
  readonly tenant: string
  readonly endpoint?: string | null | undefined
  readonly chosen: string
  readonly reason: string
  readonly policy: string
  readonly stream: boolean
  readonly finishReason: string | null
  readonly completionId?: string | null | undefined
  readonly usage: { promptTokens: number; completionTokens: number; cachedTokens: number; reasoningTokens: number }
  readonly costUsd: number
  readonly ttftMs: number | null
}

/** Version ff is none, and version 00 ends with the flags. */
const FORMAT = /^(?!ff|00-.{52}.)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/
const SAMPLED = 1
/** Longer ones may be dropped (W3C Trace Context, 3.3.1.5). */
const MAX_STATE = 512

export interface TraceOptions {
  /** Share of the traces that begin here and are kept, 0 to 1. */
  sample: number
  /** Tell providers. */
  propagate: boolean
  /** Whether one that its caller keeps is kept here, too, whatever the share. */
  isKeptForCaller(): boolean
}

/**
 * The place of one request in a trace. Ids are drawn when it begins, since providers are told them; its spans are made
 * after it has ended.
 *
 * Source: W3C Trace Context, https://www.w3.org/TR/trace-context/
 */
export class RequestTrace {
  readonly traceId: string
  readonly spanId: string
  /** The caller's span; null where this one is the first. */
  readonly parentId: string | null
  readonly isSampled: boolean
  readonly attempts: AttemptSpan[] = []
  /** Null until an answer has ended. */
  record: TracedRecord | null = null
  readonly #state: string | undefined
  readonly #isTold: boolean

  constructor(headers: IncomingHttpHeaders, { sample, propagate, isKeptForCaller }: TraceOptions) {
    this.#isTold = propagate
    const { traceparent, tracestate } = headers
    const [, traceId, parentId, flags] = FORMAT.exec(single(traceparent)) ?? []
    this.parentId = parentId ?? null
    const isCallers = flags !== undefined
    const isKept = isCallers && (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED
    this.isSampled = isCallers && !isKept ? false : (isKept && isKeptForCaller()) || Math.random() < sample
    const ids = randomHex(24)
    this.traceId = traceId ?? ids.slice(16)
    this.spanId = ids.slice(0, 16)
    const state = single(tracestate)
    if (parentId !== undefined && state !== '' && state.length <= MAX_STATE) this.#state = state
  }

  attempt(candidate: AskedCandidate): AttemptSpan {
    const id = randomHex(8)
    const span = new AttemptSpan(id, candidate, this.#isTold ? this.#headers(id) : {})
    this.attempts.push(span)
    return span
  }

  #headers(spanId: string): Record<string, string> {
    return {
      traceparent: `00-${this.traceId}-${spanId}-${this.isSampled ? '01' : '00'}`,
      ...(this.#state !== undefined && { tracestate: this.#state }),
    }
  }
}

/** Drawn in advance: a call for a few bytes costs as much as one for many. */
const pool = Buffer.allocUnsafe(4_096)
let drawn = pool.length

function randomHex(bytes: number): string {
  if (drawn + bytes > pool.length) {
    randomFillSync(pool)
    drawn = 0
  }
  drawn += bytes
  return pool.toString('hex', drawn - bytes, drawn)
}

const single = (value: string | string[] | undefined) => (typeof value === 'string' ? value : '')
