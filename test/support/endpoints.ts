import { type CallOptions, call } from './clients.ts'
import type { RunningGateway } from './gateway.ts'
import { readEvents } from './responses-spec.ts'

export interface Question {
  model?: string
  prompt?: string
  stream?: boolean
  /** Other fields, the same in all formats. */
  [field: string]: unknown
}

/** An endpoint that answers, for tests that hold for each of them. */
export interface EndpointUnderTest {
  name: string
  path: string
  body: (question?: Question) => Record<string, unknown>
  /** Whether a stream tells its client that it broke: so that SDKs raise. */
  tellsOfFailure: (stream: string) => boolean
}

/** Endpoints that answer: the fault tables hold for each. */
export const ENDPOINTS: readonly EndpointUnderTest[] = [
  {
    name: 'chat completions',
    path: '/v1/chat/completions',
    body: ({ prompt = 'Hi', ...rest } = {}) => ({
      model: 'auto',
      messages: [{ role: 'user', content: prompt }],
      ...rest,
    }),
    tellsOfFailure: (stream) => /\n\ndata: \{"error":[^\n]*\n\n$/.test(stream),
  },
  {
    name: 'responses',
    path: '/v1/responses',
    body: ({ prompt = 'Hi', ...rest } = {}) => ({ model: 'auto', input: prompt, ...rest }),
    tellsOfFailure: (stream) => {
      const events = readEvents(stream).map(({ event }) => event)
      return events.slice(-2).join() === 'error,response.failed'
    },
  },
  {
    name: 'messages',
    path: '/v1/messages',
    body: ({ prompt = 'Hi', ...rest } = {}) => ({
      model: 'auto',
      max_tokens: 256,
      messages: [{ role: 'user', content: prompt }],
      ...rest,
    }),
    tellsOfFailure: (stream) => /\n\nevent: error\ndata: \{"type":"error",[^\n]*\n\n$/.test(stream),
  },
  {
    name: 'completions',
    path: '/v1/completions',
    body: ({ prompt = 'Hi', ...rest } = {}) => ({ model: 'auto', prompt, ...rest }),
    tellsOfFailure: (stream) => /\n\ndata: \{"error":[^\n]*\n\n$/.test(stream),
  },
]

/** Needs `unroutedConfig`. */
export type UnroutedUnderTest = Pick<EndpointUnderTest, 'name' | 'path' | 'body'>

/** Endpoints whose requests nobody routes: the rows that are not about streams hold for them, too. */
export const UNROUTED: readonly UnroutedUnderTest[] = [
  {
    name: 'embeddings',
    path: '/v1/embeddings',
    body: ({ model = 'vectors', prompt = 'Hi' } = {}) => ({ model, input: prompt }),
  },
  {
    name: 'pass-through',
    path: '/v1/moderations',
    body: ({ model = 'any', prompt = 'Hi' } = {}) => ({ model, input: prompt }),
  },
]

/** For a gateway with a provider `up`. */
export const unroutedConfig = (embeddingModels: readonly string[] = ['vectors'], request = 0.1) => ({
  embeddings: embeddingModels.map((name) => ({ name, provider: 'up', price: { input: 1 } })),
  passthrough: { '/v1/moderations/': { provider: 'up', price: { request } } },
})

export const ask = (
  { path, body }: Pick<EndpointUnderTest, 'path' | 'body'>,
  gateway: Pick<RunningGateway, 'url' | 'baseURL' | 'key'>,
  question: Question = {},
  options: CallOptions = {},
) => call(gateway, path, { ...options, body: body(question) })
