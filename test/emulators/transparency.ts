import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { anthropic } from './anthropic.ts'
import {
  anyCompletion,
  anyMessages,
  anyResponses,
  chatOfConverted,
  chatOfMessages,
  chatOfResponses,
} from './elsewhere.ts'
import { type Body, type Received, refusalOf } from './emulator.ts'
import { anyRequest } from './generate.ts'
import { ADDED, HOSTED, type RunningEmulators, startEmulators } from './index.ts'
import { lossOf, lossOfRest, lossOfTalk, meaningOf, meaningOfMessages } from './meaning.ts'
import { openai } from './openai.ts'
import { openaiResponses } from './openai-responses.ts'
import { type AskedInPython, PythonReader } from './python/reader.ts'
import { Clients, endsIn, endsOf } from './sdks.ts'
import { shipped } from './shipped.ts'

export interface Asked {
  api: AskedInPython['api']
  body: Body
}

export interface Totals {
  requests: number
  refused: number
  lost: number
  surprises: number
  /** Requests that the only candidate left does not take, by its dialect: no provider was asked. */
  unfit: number
  /** Requests that no model of the endpoint's vendor takes: not sent. */
  drawnAnew: number
  /** Requests by candidate that answered. */
  byCandidate: Record<string, number>
  /** Requests with something in `x-router-dropped`, and those that another candidate had refused first. */
  dropped: number
  failedOver: number
  byApi: Partial<Record<Asked['api'], number>>
  /** Requests that were asked once more with the Python SDKs. */
  inPython: number
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
  'cerebras/gpt-oss-120b',
  'cohere/command-a',
  'xai/grok-4.3',
  'xai/grok-4-fast-non-reasoning',
  'gpt-5.3-codex',
  'gpt-5.4-pro',
]

/** Of each kind that takes something which the others do not. */
const OPENAI_MODELS = ['gpt-4o-mini', 'gpt-5', 'gpt-5.4-mini', 'gpt-audio', 'gpt-4o-search-preview']

const CLAUDES = ['claude-haiku-4-5', 'claude-opus-4-8']

const PYTHON_SHARE = 0.1

function isTaken({ api, body }: Asked): boolean {
  const [route, models] =
    api === 'messages' ? [anthropic, CLAUDES] : [api === 'responses' ? openaiResponses : openai, OPENAI_MODELS]
  return models.some((model) => refusalOf(route, { ...body, model }) === null)
}

/** What an emulator got that is not what was asked, in whichever format either was. */
export function lossOfAny(
  { api, body }: Asked,
  { emulator, path, body: sent }: Received,
  dropped: string[],
): string | null {
  const got = path === '/responses' && api !== 'responses' ? chatOfConverted(sent) : sent
  const named = [...dropped, ...dropped.map((field) => ALIASES[field] ?? field)]
  switch (api) {
    case 'chat':
      return lossOf(body, emulator, got, named)
    case 'messages':
      return lossOf(chatOfMessages(body), emulator, got, named, true)
    case 'responses': {
      if (path !== '/responses') return lossOf(chatOfResponses(body), emulator, got, named, true)
      const [want, received] = [meaningOf(chatOfResponses(body)), meaningOf(chatOfResponses(got))]
      return lossOfTalk(want, received) ?? lossOfRest(want, received, 'openai', named, got.model)
    }
    case 'completions': {
      const { prompt, suffix: _, echo: __, ...parameters } = body
      if (!JSON.stringify(got.messages).includes(JSON.stringify(prompt).slice(1, -1))) return 'the prompt is not in it'
      const want = meaningOf({ ...parameters, model: body.model, messages: [] } as Body)
      const received = emulator === 'anthropic' ? meaningOfMessages(got) : meaningOf(got)
      return lossOfRest(want, received, emulator, named, got.model)
    }
  }
}

/** What fields of other endpoints are called in chat completions. */
const ALIASES: Record<string, string> = {
  'reasoning.effort': 'reasoning_effort',
  'text.verbosity': 'verbosity',
  'text.format': 'response_format',
  stop_sequences: 'stop',
  // Of the Messages API: its only field.
  metadata: 'user',
}

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
    drawnAnew: 0,
    byCandidate: {},
    dropped: 0,
    failedOver: 0,
    byApi: {},
    inPython: 0,
    problems: [],
  }
  readonly #gateway: RunningGateway
  readonly #emulators: RunningEmulators
  readonly #clients: Clients
  readonly #python: PythonReader | null
  /** Whether what is left off is known from data, and told. */
  readonly #compares: boolean

  private constructor(gateway: RunningGateway, emulators: RunningEmulators, compares: boolean, inPython: boolean) {
    this.#compares = compares
    this.#gateway = gateway
    this.#emulators = emulators
    this.#clients = new Clients(gateway)
    this.#python = inPython ? new PythonReader(gateway.baseURL, gateway.key) : null
  }

  /**
   * @param options.dialects false: nothing is known of the models but what they refuse
   * @param options.python also read a share of the answers with the official Python SDKs
   */
  static async start({ dialects = true, python = false } = {}): Promise<TransparencyTarget> {
    const emulators = await startEmulators([...HOSTED, ...ADDED])
    const config = shipped(emulators)
    const gateway = await startGateway({ ...config, ...(!dialects && { dialects: {} }) })
    return new TransparencyTarget(gateway, emulators, dialects, python)
  }

  get url(): { baseURL: string; key: string } {
    return this.#gateway
  }

  async run(random: () => number): Promise<void> {
    const asked = this.#takenRequest(random)
    const { api, body } = asked
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
    const isForPython = random() < PYTHON_SHARE
    this.totals.requests++
    this.totals.byApi[api] = (this.totals.byApi[api] ?? 0) + 1
    let response: Response
    try {
      response = await this.#ask(asked, headers)
    } catch (error) {
      const isOwn = error instanceof OpenAI.APIError || error instanceof Anthropic.APIError
      // Where nothing is known of the only one that is left, it may refuse what others would take.
      const mayRefuse = isAlone && (!this.#compares || /No model fits/.test((error as Error).message))
      if (mayRefuse && isOwn) this.totals.unfit++
      else if (isOwn)
        this.#problem('refused', body, `${api}: ${error.status} ${error.message} ${JSON.stringify(headers)}`)
      else this.#problem('surprises', body, `${api}: ${error}`)
      if (isForPython) await this.#askInPython(asked, headers, isAlone)
      return
    }
    const candidate = response.headers.get('x-router-model') ?? '?'
    const dropped = (response.headers.get('x-router-dropped') ?? '').split(', ').filter((field) => field !== '')
    this.totals.byCandidate[candidate] = (this.totals.byCandidate[candidate] ?? 0) + 1
    if (dropped.length > 0) this.totals.dropped++
    if (response.headers.get('x-router-reason')?.startsWith('fallback;http_4')) this.totals.failedOver++
    if (this.#compares) {
      const name = response.headers.get('x-router-provider') ?? ''
      const received = this.#emulators.byName.get(name)?.received.findLast(({ refused }) => refused === null)
      const loss = received ? lossOfAny(asked, received, dropped) : 'no emulator got it'
      if (loss) this.#problem('lost', body, `${api}, ${candidate}: ${loss}; dropped ${dropped.join(', ')}`)
    }
    if (isForPython) await this.#askInPython(asked, headers, isAlone && !this.#compares)
  }

  /** One that some model of the endpoint's own vendor takes as it is. */
  #takenRequest(random: () => number): Asked {
    const at = random()
    if (at < 0.04) return { api: 'completions', body: anyCompletion(random) }
    for (;;) {
      const asked: Asked =
        at < 0.22
          ? { api: 'responses', body: anyResponses(random) }
          : at < 0.4
            ? { api: 'messages', body: anyMessages(random) }
            : { api: 'chat', body: anyRequest(random) }
      if (isTaken(asked)) return asked
      this.totals.drawnAnew++
    }
  }

  async stop(): Promise<void> {
    this.#python?.stop()
    await discard(this.#gateway)
    await this.#emulators.close()
  }

  /** Reads the answer to its end, as the official SDKs do. */
  async #ask({ api, body }: Asked, headers: Record<string, string>): Promise<Response> {
    const asked = this.#clients.send(api, body, headers)
    const { data, response } = await asked.withResponse()
    const ended = body.stream ? await endsOf(api, data as AsyncIterable<unknown>) : endsIn(api, data)
    const wanted = api === 'chat' || api === 'completions' ? Number(body.n ?? 1) : 1
    if (ended !== wanted) throw new Error(`${ended} choices ended, ${wanted} were asked for`)
    return response
  }

  /** The same request by the Python SDKs: an answer is read to its end, or an error is their own. */
  async #askInPython({ api, body }: Asked, headers: Record<string, string>, mayRefuse: boolean): Promise<void> {
    if (!this.#python) return
    this.totals.inPython++
    const read = await this.#python.ask({ api, body, headers })
    if ('end' in read) {
      if (read.end === null) this.#problem('surprises', body, `Python: ${api} ended without an end`)
    } else if (!read.own) this.#problem('surprises', body, `Python: ${read.error}`)
    else if (!mayRefuse)
      this.#problem('refused', body, `Python: ${read.error} ${read.status} ${JSON.stringify(headers)}`)
  }

  #problem(kind: 'refused' | 'lost' | 'surprises', request: Body, what: string): void {
    this.totals[kind]++
    if (this.totals.problems.length < 12) this.totals.problems.push(`${kind}: ${what}\n  ${JSON.stringify(request)}`)
  }
}
