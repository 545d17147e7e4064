import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Api, Candidate } from '../../src/candidates/candidate.ts'
import { configSchema } from '../../src/config/schema.ts'
import { GatewayError } from '../../src/errors.ts'
import { parseChat } from '../../src/openai/parse-chat.ts'
import type { RequestContext } from '../../src/pipeline/context.ts'
import type { Endpoint } from '../../src/pipeline/endpoint.ts'
import type { Principal } from '../../src/pipeline/principal.ts'
import { Breakers } from '../../src/providers/forward/breakers.ts'
import { type Forwarded, forward } from '../../src/providers/forward/forward.ts'
import { openProviders } from '../../src/providers/kinds.ts'
import type { Outcome } from '../../src/providers/relay/outcome.ts'
import { relay } from '../../src/providers/relay/relay.ts'
import { renderError } from '../../src/server/errors.ts'
import type { Attempt } from '../../src/store/records/records.ts'

export interface HarnessOptions {
  /** One provider an origin; provider `p0`, `p1`, …, candidate `c0`, `c1`, …. */
  origins: readonly string[]
  timeouts?: Record<string, unknown>
  retries?: Record<string, unknown>
  provider?: Record<string, unknown>
  writeIdleMs?: number
  /** Formats that the candidates' provider speaks beside chat completions. */
  apis?: readonly Api[]
  /** Endpoints by path, beside chat completions. */
  endpoints?: Readonly<Record<string, Endpoint>>
  /** What is awaited before the last bytes. */
  onEnding?: (outcome: Outcome) => Promise<void>
  onSettled?: (result: Result) => void
}

/** What one request came to. */
export interface Result {
  /** As it was asked. */
  body: Buffer
  forwarded?: Forwarded
  outcome?: Outcome
  error?: Error & { attempts?: Attempt[]; status?: number }
  /** From arrival until all was over. */
  ms: number
}

export interface Harness {
  url: string
  breakers: Breakers
  candidates: Candidate[]
  /** Results in the order in which requests ended. */
  results: Result[]
  /** Resolves when `count` requests have ended. */
  settled(count: number): Promise<Result[]>
  close(): Promise<void>
}

export const candidate = (name: string, provider: string, extra: Partial<Candidate> = {}): Candidate => ({
  name,
  provider,
  model: `${name}-model`,
  vendor: 'test',
  description: '',
  price: { input: 1, output: 2 },
  contextWindow: 100_000,
  capabilities: new Set(['tools']),
  groups: ['default'],
  explore: true,
  benchmarks: {},
  ...extra,
})

const REQUEST_ID = 'req_00000000-0000-4000-8000-000000000000'

/**
 * forward and relay behind a real HTTP server, as the gateway uses them, without the gateway: for faults of providers
 * and of readers.
 */
export async function startHarness(options: HarnessOptions): Promise<Harness> {
  const config = configSchema.parse({
    providers: Object.fromEntries(
      options.origins.map((origin, index) => [
        `p${index}`,
        { kind: 'openai-compatible', base_url: `${origin}/v1`, api_key: 'sk-canary-provider-key', ...options.provider },
      ]),
    ),
    timeouts: options.timeouts ?? {},
    retries: { backoff_ms: 5, ...options.retries },
  })
  const providers = openProviders(config)
  const breakers = new Breakers(config.retries.breaker)
  const apis = options.apis && { apis: new Set<Api>(['chat', ...options.apis]) }
  const candidates = options.origins.map((_, index) => candidate(`c${index}`, `p${index}`, apis))
  const results: Result[] = []
  const waiting: { count: number; resolve: (results: Result[]) => void }[] = []
  const settle = (result: Result) => {
    results.push(result)
    options.onSettled?.(result)
    for (const { count, resolve } of waiting) if (results.length >= count) resolve(results)
  }

  const server: Server = createServer(async (incoming, response) => {
    const started = performance.now()
    const gone = new AbortController()
    response.once('close', () => {
      if (!response.writableFinished) gone.abort()
    })
    const deadline = started + config.timeouts.total_ms
    const raw = await readBody(incoming)
    const result: Result = { body: raw, ms: 0 }
    try {
      const endpoint = options.endpoints?.[incoming.url ?? '']
      // What an endpoint reads of a request's context.
      const context = { incoming, requestId: REQUEST_ID, snapshot: { config } } as unknown as RequestContext
      const principal = { tenant: { name: 'test', config: { responses: {} } }, user: 'u' } as unknown as Principal
      const call = await endpoint?.read(raw).toChat(context, principal, candidates)
      const request = call?.request ?? parseChat(raw)
      const forwarded = await forward(
        { ranking: candidates, request, signal: gone.signal, requestId: 'req-test', deadline },
        { providers, breakers, timeouts: config.timeouts, retries: config.retries },
      )
      result.forwarded = forwarded
      const writer = call?.writer?.('turn')
      if (writer && !forwarded.stream) forwarded.body = await writer.plain(forwarded, 'a')
      result.outcome = await relay(forwarded, response, {
        request,
        writer: writer && forwarded.stream ? writer.stream(forwarded) : undefined,
        headers: { 'x-request-id': 'req-test', 'x-router-model': forwarded.candidate.name },
        signal: gone.signal,
        deadline,
        started,
        contentIdleMs: config.timeouts.content_idle_ms,
        commentsMs: config.timeouts.comments_ms,
        endingMs: config.timeouts.ending_ms,
        writeIdleMs: options.writeIdleMs ?? 10_000,
        ...(options.onEnding && { onEnding: options.onEnding }),
      })
    } catch (error) {
      result.error = error as Error
      if (!(error instanceof GatewayError)) throw error
      const { status, headers, body } = renderError(error, 'req-test')
      if (!response.headersSent) response.writeHead(status, headers)
      response.end(body)
    }
    result.ms = performance.now() - started
    settle(result)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    breakers,
    candidates,
    results,
    settled: (count) =>
      new Promise((resolve) => (results.length >= count ? resolve(results) : waiting.push({ count, resolve }))),
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await Promise.all([...providers.values()].map((provider) => provider.close()))
    },
  }
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

export const ask = (url: string, body: Record<string, unknown> = {}, init: RequestInit = {}) =>
  fetch(`${url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }], ...body }),
    ...init,
  })
