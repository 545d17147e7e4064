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
]

export const ask = (
  { path, body }: EndpointUnderTest,
  gateway: Pick<RunningGateway, 'url' | 'baseURL' | 'key'>,
  question: Question = {},
  options: CallOptions = {},
) => call(gateway, path, { ...options, body: body(question) })
