import OpenAI from 'openai'
import { expect } from 'vitest'
import { ADMIN_KEY, type RunningGateway } from './gateway.ts'

type Reachable = Pick<RunningGateway, 'url' | 'baseURL' | 'key'>

/** The official SDK as a team has it in its code: another base URL and a header, nothing else. */
export const openai = (
  { baseURL, key }: Reachable,
  {
    user,
    apiKey = key,
    maxRetries,
    headers,
  }: { user?: string; apiKey?: string; maxRetries?: number; headers?: Record<string, string> } = {},
) =>
  new OpenAI({
    baseURL,
    apiKey,
    ...(maxRetries !== undefined && { maxRetries }),
    defaultHeaders: { ...(user !== undefined && { 'x-user-id': user }), ...headers },
  })

export interface CallOptions {
  method?: string
  key?: string
  user?: string
  headers?: Record<string, string>
  body?: unknown
}

/** A plain HTTP call with a tenant's key; strings and bytes are sent as they are. */
export function call(
  gateway: Reachable,
  path: string,
  { method, key = gateway.key, user, headers, body }: CallOptions = {},
): Promise<Response> {
  const isRaw = typeof body === 'string' || body instanceof Uint8Array
  return fetch(gateway.url + path, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(user !== undefined && { 'x-user-id': user }),
      ...headers,
    },
    ...(body !== undefined && { body: isRaw ? (body as BodyInit) : JSON.stringify(body) }),
  })
}

export const complete = (gateway: Reachable, body: Record<string, unknown> = {}, options: CallOptions = {}) =>
  call(gateway, '/v1/chat/completions', {
    ...options,
    body: { model: 'auto', messages: [{ role: 'user', content: 'Hi' }], ...body },
  })

export const adminCall = (gateway: Reachable, path: string, options: CallOptions = {}) =>
  call(gateway, `/admin${path}`, { key: ADMIN_KEY, ...options })

/** Checks that a body is an error as OpenAI's clients parse it, and gives it back. */
export function expectError(text: string): {
  message: string
  type: string
  param: string | null
  code: string | null
} {
  const { error } = JSON.parse(text)
  expect(error).toEqual({
    message: expect.stringMatching(/\S/),
    type: expect.stringMatching(/^[a-z_]+$/),
    param: error.param === null ? null : expect.any(String),
    code: error.code === null ? null : expect.any(String),
  })
  return error
}

interface Explained {
  chosen: string
  reason: string
  user: { rewards: number; taste: string }
  tasks: Record<string, number>
  stated: { task: string; candidate: string; why_not: string | null } | null
  candidates: {
    name: string
    mean: number
    parts: Record<string, number> | null
    completion_tokens: number
    predicted_cost_usd: number
    propensity: number
    excluded: string | null
  }[]
}

/** What the gateway would choose for a question, exploring not. */
export async function explain(
  gateway: Reachable,
  question: string,
  options: CallOptions & { model?: string } = {},
): Promise<Explained> {
  const response = await call(gateway, '/v1/router/explain', {
    ...options,
    headers: { 'x-router-explore': 'off', ...options.headers },
    body: { model: options.model ?? 'auto', messages: [{ role: 'user', content: question }] },
  })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`explain: ${response.status} ${text}`)
  return JSON.parse(text)
}

/** The value of a metric, summed over its labels; 0 where it is not there. */
export async function metric(gateway: Reachable, name: string): Promise<number> {
  const text = await (await fetch(`${gateway.url}/metrics`)).text()
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}
