import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import type { Body } from './emulator.ts'

type Api = 'chat' | 'responses' | 'messages' | 'completions'

interface Asking {
  withResponse(): Promise<{ data: unknown; response: Response }>
}

/** The official Node SDKs, pointed at a gateway. */
export class Clients {
  readonly #openai: OpenAI
  readonly #anthropic: Anthropic

  constructor({ url, baseURL, key }: { url: string; baseURL: string; key: string }) {
    this.#openai = new OpenAI({ baseURL, apiKey: key, maxRetries: 0 })
    this.#anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 })
  }

  send(api: Api, body: Body, headers: Record<string, string>): Asking {
    const resource = {
      chat: this.#openai.chat.completions,
      responses: this.#openai.responses,
      completions: this.#openai.completions,
      messages: this.#anthropic.messages,
    }[api] as { create(body: unknown, options: unknown): Asking }
    return resource.create(body, { headers })
  }
}

interface Ended {
  choices?: { finish_reason?: string | null }[]
  type?: string
  status?: string
  response?: { status?: string }
  stop_reason?: string | null
}

/** How many choices of a whole answer have ended. */
export function endsIn(api: Api, data: unknown): number {
  const { choices = [], status, stop_reason: reason } = data as Ended
  if (api === 'responses') return status === 'completed' || status === 'incomplete' ? 1 : 0
  if (api === 'messages') return reason ? 1 : 0
  return choices.filter(({ finish_reason: end }) => end).length
}

/** The same of a streamed one, read to its end. */
export async function endsOf(api: Api, events: AsyncIterable<unknown>): Promise<number> {
  let ended = 0
  for await (const event of events) {
    const { choices = [], type } = event as Ended
    if (api === 'responses') ended += type === 'response.completed' || type === 'response.incomplete' ? 1 : 0
    else if (api === 'messages') ended += type === 'message_stop' ? 1 : 0
    else ended += choices.filter(({ finish_reason: end }) => end).length
  }
  return ended
}
