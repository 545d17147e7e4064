import OpenAI from 'openai'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import type { Body } from './emulator.ts'
import { anyRequest, type Request } from './generate.ts'
import { type RunningEmulators, startEmulators } from './index.ts'
import { lossOf } from './meaning.ts'
import { shipped } from './shipped.ts'

export interface Totals {
  requests: number
  refused: number
  lost: number
  surprises: number
  /** Requests that the only candidate left does not take, by its dialect: no provider was asked. */
  unfit: number
  /** Requests by candidate that answered. */
  byCandidate: Record<string, number>
  /** Requests with something in `x-router-dropped`, and those that another candidate had refused first. */
  dropped: number
  failedOver: number
  /** Requests by `/v1/messages` and `/v1/responses`. */
  elsewhere: number
  problems: string[]
}

/** Candidates that are left out of a request now and then, so that all come to answer. */
const MAY_BE_DENIED = [
  'gpt-5',
  'claude-sonnet-4-5',
  'claude-haiku-4-5',
  'gemini-2.5-pro',
  'gemini-2.5-flash',
  'gemini-2.5-flash-lite',
  'openrouter/llama-3.3-70b',
  'openrouter/llama-3.1-8b',
  'openrouter/deepseek-v3',
  'openrouter/qwen3-235b',
  'groq/llama-3.1-8b',
  'deepseek-chat',
  'mistral-small',
  'together/llama-3.3-70b',
]

/** They would answer most of what is left. */
const CHEAP = ['gpt-4o-mini', 'gpt-5-mini']

/** The gateway under the shipped configuration, its providers' addresses turned to the emulators. */
export class TransparencyTarget {
  readonly totals: Totals = {
    requests: 0,
    refused: 0,
    lost: 0,
    surprises: 0,
    unfit: 0,
    byCandidate: {},
    dropped: 0,
    failedOver: 0,
    elsewhere: 0,
    problems: [],
  }
  readonly #gateway: RunningGateway
  readonly #emulators: RunningEmulators
  readonly #client: OpenAI
  /** Whether what is left off is known from data, and told. */
  readonly #compares: boolean

  private constructor(gateway: RunningGateway, emulators: RunningEmulators, compares: boolean) {
    this.#compares = compares
    this.#gateway = gateway
    this.#emulators = emulators
    this.#client = new OpenAI({ baseURL: gateway.baseURL, apiKey: gateway.key, maxRetries: 0 })
  }

  /** @param options.dialects false: nothing is known of the models but what they refuse */
  static async start({ dialects = true } = {}): Promise<TransparencyTarget> {
    const emulators = await startEmulators()
    const config = shipped(emulators)
    const gateway = await startGateway({ ...config, ...(!dialects && { dialects: {} }) })
    return new TransparencyTarget(gateway, emulators, dialects)
  }

  get url(): { baseURL: string; key: string } {
    return this.#gateway
  }

  async run(random: () => number): Promise<void> {
    const request = anyRequest(random)
    const wanted = MAY_BE_DENIED[Math.floor(random() * MAY_BE_DENIED.length)]
    // All but one and a general model: so that it is often that one's turn.
    const isAlone = random() < 0.3
    const others = MAY_BE_DENIED.filter((name) => name !== wanted)
    const deny = isAlone ? [...others, ...CHEAP, 'gpt-4.1-mini'] : random() < 0.5 ? [...others, ...CHEAP] : []
    const headers: Record<string, string> = {
      'x-user-id': `u${Math.floor(random() * 50)}`,
      ...(random() < 0.6 && { 'x-router-cost-weight': String(Math.round(random() * 10) / 10) }),
      ...(deny.length > 0 && { 'x-router-deny': deny.join(',') }),
    }
    this.totals.requests++
    if (random() < 0.1) return this.#runElsewhere(random, headers)
    let response: Response
    try {
      response = await this.#ask(request, headers)
    } catch (error) {
      // Where nothing is known of the only one that is left, it may refuse what others would take.
      const mayRefuse = isAlone && (!this.#compares || /^400 No model fits/.test((error as Error).message))
      if (mayRefuse && error instanceof OpenAI.APIError) this.totals.unfit++
      else if (error instanceof OpenAI.APIError)
        this.#problem('refused', request, `${error.status} ${error.message} ${JSON.stringify(headers)}`)
      else this.#problem('surprises', request, String(error))
      return
    }
    const candidate = response.headers.get('x-router-model') ?? '?'
    const dropped = (response.headers.get('x-router-dropped') ?? '').split(', ').filter((field) => field !== '')
    this.totals.byCandidate[candidate] = (this.totals.byCandidate[candidate] ?? 0) + 1
    if (dropped.length > 0) this.totals.dropped++
    if (response.headers.get('x-router-reason')?.startsWith('fallback;http_4')) this.totals.failedOver++
    if (!this.#compares) return
    const name = response.headers.get('x-router-provider') ?? ''
    const received = this.#emulators.byName.get(name)?.received.findLast(({ refused }) => refused === null)
    const asked = { ...request, model: 'auto' } as Body
    const loss = received ? lossOf(asked, name, received.body, dropped) : 'no emulator got it'
    if (loss) this.#problem('lost', request, `${candidate}: ${loss}; dropped ${dropped.join(', ')}`)
  }

  async stop(): Promise<void> {
    await discard(this.#gateway)
    await this.#emulators.close()
  }

  /** Reads the answer to its end, as the official SDK does. */
  async #ask(request: Request, headers: Record<string, string>): Promise<Response> {
    if (request.stream) {
      const { data, response } = await this.#client.chat.completions
        .create(request as never as OpenAI.ChatCompletionCreateParamsStreaming, { headers })
        .withResponse()
      let finish = 0
      for await (const { choices } of data)
        finish += choices.filter(({ finish_reason }) => finish_reason !== null).length
      if (finish !== Number(request.n ?? 1))
        throw new Error(`${finish} choices ended, ${request.n ?? 1} were asked for`)
      return response
    }
    const { data, response } = await this.#client.chat.completions
      .create(request as never as OpenAI.ChatCompletionCreateParamsNonStreaming, { headers })
      .withResponse()
    if (data.choices.length !== Number(request.n ?? 1)) throw new Error(`${data.choices.length} choices`)
    return response
  }

  /** The same road by another endpoint: a request in its words, answered whoever is chosen. */
  async #runElsewhere(random: () => number, headers: Record<string, string>): Promise<void> {
    const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
    const isMessages = random() < 0.5
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    }
    const shared = { model: 'auto', temperature: pick([0.2, 0.9]), stream: random() < 0.5 }
    const body = isMessages
      ? {
          ...shared,
          max_tokens: pick([64, 2_000]),
          system: 'Be brief.',
          messages: [
            { role: 'user', content: 'Hi' },
            {
              role: 'assistant',
              content: [{ type: 'tool_use', id: 'toolu_1', name: 'read', input: { city: 'Rome' } }],
            },
            { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'ok' }] },
          ],
          tools: [{ name: 'read', input_schema: schema }],
        }
      : {
          ...shared,
          store: false,
          max_output_tokens: pick([64, 2_000]),
          instructions: 'Be brief.',
          input: [
            { role: 'developer', content: 'In English.' },
            { role: 'user', content: [{ type: 'input_text', text: 'Hi' }] },
            { type: 'function_call', call_id: 'call_1', name: 'read', arguments: '{"city":"Rome"}' },
            { type: 'function_call_output', call_id: 'call_1', output: 'ok' },
          ],
          tools: [{ type: 'function', name: 'read', parameters: schema, strict: true }],
        }
    const path = isMessages ? 'messages' : 'responses'
    const { 'x-router-deny': _, ...rest } = headers
    const response = await fetch(`${this.#gateway.baseURL}/${path}`, {
      method: 'POST',
      headers: { ...rest, authorization: `Bearer ${this.#gateway.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const text = await response.text()
    const candidate = response.headers.get('x-router-model') ?? '?'
    this.totals.byCandidate[candidate] = (this.totals.byCandidate[candidate] ?? 0) + 1
    this.totals.elsewhere++
    const isWhole = !shared.stream || /message_stop|response\.completed/.test(text)
    if (response.status !== 200)
      this.#problem('refused', body as never, `${path} ${response.status} ${text.slice(0, 300)}`)
    else if (!isWhole) this.#problem('surprises', body as never, `${path}: no end: ${text.slice(-300)}`)
  }

  #problem(kind: 'refused' | 'lost' | 'surprises', request: Request, what: string): void {
    this.totals[kind]++
    if (this.totals.problems.length < 12) this.totals.problems.push(`${kind}: ${what}\n  ${JSON.stringify(request)}`)
  }
}
