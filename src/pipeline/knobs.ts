import type { IncomingMessage } from 'node:http'
import { invalidRequest } from '../errors.ts'
import { headerText } from './identity.ts'

/** What a request may ask of the router, by headers, so that typed SDKs can send it. */
export interface Knobs {
  /** 0..1: overrides the learned trade-off between quality (0) and cost (1). */
  costWeight?: number
  maxCostUsd?: number
  maxLatencyMs?: number
  allow?: readonly string[]
  deny?: readonly string[]
  conversation: string | null
  explore: boolean
  /** No field of the request may be left off. */
  strict: boolean
}

const MAX_CONVERSATION_BYTES = 256

/** @throws GatewayError 400 with the header as `param` */
export function readKnobs(request: IncomingMessage): Knobs {
  const costWeight = number(request, 'x-router-cost-weight', 0, 1)
  const maxCostUsd = number(request, 'x-router-max-cost-usd', 0, Number.MAX_VALUE)
  const maxLatencyMs = number(request, 'x-router-max-latency-ms', 0, Number.MAX_VALUE)
  const allow = list(request, 'x-router-allow')
  const deny = list(request, 'x-router-deny')
  const explore = headerText(request, 'x-router-explore')?.toLowerCase()
  if (explore !== undefined && explore !== 'on' && explore !== 'off') {
    throw invalidRequest(`Invalid 'x-router-explore': expected 'on' or 'off'.`, 'x-router-explore')
  }
  const strict = headerText(request, 'x-router-strict')?.toLowerCase()
  if (strict !== undefined && strict !== 'on' && strict !== 'off') {
    throw invalidRequest(`Invalid 'x-router-strict': expected 'on' or 'off'.`, 'x-router-strict')
  }
  const conversation = headerText(request, 'x-conversation-id') || null
  if (conversation !== null && Buffer.byteLength(conversation) > MAX_CONVERSATION_BYTES) {
    throw invalidRequest(`Invalid 'x-conversation-id': at most ${MAX_CONVERSATION_BYTES} bytes.`, 'x-conversation-id')
  }
  return {
    ...(costWeight !== undefined && { costWeight }),
    ...(maxCostUsd !== undefined && { maxCostUsd }),
    ...(maxLatencyMs !== undefined && { maxLatencyMs }),
    ...(allow && { allow }),
    ...(deny && { deny }),
    conversation,
    explore: explore !== 'off',
    strict: strict === 'on',
  }
}

/** Without the `0x10`, `Infinity` and such that JavaScript would take for numbers. */
const DECIMAL = /^\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

function number(request: IncomingMessage, header: string, min: number, max: number): number | undefined {
  const text = headerText(request, header)
  if (text === undefined) return undefined
  const value = DECIMAL.test(text.trim()) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) {
    throw invalidRequest(
      `Invalid '${header}': expected a number ${max === 1 ? 'from 0 to 1' : 'of 0 or more'}.`,
      header,
    )
  }
  return value
}

function list(request: IncomingMessage, header: string): string[] | undefined {
  const names = headerText(request, header)
    ?.split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
  return names?.length ? names : undefined
}
