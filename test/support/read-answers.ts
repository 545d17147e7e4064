import Anthropic from '@anthropic-ai/sdk'
import { openai } from './clients.ts'
import type { RunningGateway } from './gateway.ts'

/** What an answer says, whichever endpoint told it. */
export interface Said {
  text: string
  thoughts: string
  calls: { name: string; args: unknown }[]
}

export const READERS = ['chat', 'responses', 'messages'] as const
export type Reader = (typeof READERS)[number]

/** How it is asked: by which endpoint, and whether streamed. */
export const WAYS = READERS.flatMap((reader) => [true, false].map((stream) => ({ reader, stream })))

const parameters = { type: 'object', properties: {} } as const

/** Asks by an endpoint, with tools of these names, and reads the answer with the official SDK. */
export async function readBy(
  gateway: RunningGateway,
  { reader, stream }: { reader: Reader; stream: boolean },
  { model = 'auto', tools = [] }: { model?: string; tools?: readonly string[] } = {},
): Promise<Said> {
  switch (reader) {
    case 'chat':
      return chat(gateway, stream, model, tools)
    case 'responses':
      return responses(gateway, stream, model, tools)
    case 'messages':
      return messages(gateway, stream, model, tools)
  }
}

async function chat(gateway: RunningGateway, stream: boolean, model: string, names: readonly string[]): Promise<Said> {
  const tools = names.map((name) => ({ type: 'function' as const, function: { name, parameters } }))
  const asked = {
    model,
    messages: [{ role: 'user' as const, content: 'Hi' }],
    ...(tools.length > 0 && { tools }),
  }
  const { completions } = openai(gateway, { maxRetries: 0 }).chat
  let thoughts = ''
  const think = (said: unknown) => {
    const { reasoning_content: content, reasoning } = (said ?? {}) as Record<string, unknown>
    thoughts += typeof content === 'string' ? content : typeof reasoning === 'string' ? reasoning : ''
  }
  if (!stream) {
    const whole = await completions.create(asked)
    const message = whole.choices[0]?.message
    think(message)
    return { text: message?.content ?? '', thoughts, calls: callsOf(message?.tool_calls) }
  }
  const streamed = completions.stream(asked)
  streamed.on('chunk', ({ choices }) => think(choices?.[0]?.delta))
  const message = (await streamed.finalChatCompletion()).choices[0]?.message
  return { text: message?.content ?? '', thoughts, calls: callsOf(message?.tool_calls) }
}

const callsOf = (
  calls: readonly { type: string; function?: { name: string; arguments: string } }[] | null | undefined,
) =>
  (calls ?? []).flatMap((call) =>
    call.function ? [{ name: call.function.name, args: JSON.parse(call.function.arguments) }] : [],
  )

async function responses(
  gateway: RunningGateway,
  stream: boolean,
  model: string,
  names: readonly string[],
): Promise<Said> {
  const tools = names.map((name) => ({ type: 'function' as const, name, parameters, strict: false }))
  const asked = { model, input: 'Hi', store: false, ...(tools.length > 0 && { tools }) }
  const api = openai(gateway, { maxRetries: 0 }).responses
  let told = ''
  const whole = stream
    ? await api
        .stream(asked)
        .on('response.output_text.delta', ({ delta }) => {
          told += delta
        })
        .finalResponse()
    : await api.create(asked)
  if (whole.status === 'failed') throw new Error(whole.error?.message)
  if (stream && told !== whole.output_text) throw new Error(`told "${told}", and in the end "${whole.output_text}"`)
  return {
    text: whole.output_text,
    thoughts: whole.output
      .flatMap((item) => (item.type === 'reasoning' ? item.summary : []))
      .map(({ text }) => text)
      .join(''),
    calls: whole.output.flatMap((item) =>
      item.type === 'function_call' ? [{ name: item.name, args: JSON.parse(item.arguments) }] : [],
    ),
  }
}

async function messages(
  gateway: RunningGateway,
  stream: boolean,
  model: string,
  names: readonly string[],
): Promise<Said> {
  const client = new Anthropic({ baseURL: gateway.url, apiKey: gateway.key, maxRetries: 0 })
  const tools = names.map((name) => ({ name, input_schema: parameters }))
  const asked = {
    model,
    max_tokens: 1_000,
    messages: [{ role: 'user' as const, content: 'Hi' }],
    ...(tools.length > 0 && { tools: [...tools] }),
  }
  const { content } = stream ? await client.messages.stream(asked).finalMessage() : await client.messages.create(asked)
  return {
    text: content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join(''),
    thoughts: content.flatMap((block) => (block.type === 'thinking' ? [block.thinking] : [])).join(''),
    calls: content.flatMap((block) => (block.type === 'tool_use' ? [{ name: block.name, args: block.input }] : [])),
  }
}
