import type { Usage } from '../../candidates/usage.ts'
import { callThoughtsOf } from '../call-thoughts.ts'
import type { Conversion } from '../conversion.ts'
import { parseJson } from '../error.ts'
import { isObject } from '../is-object.ts'
import type { Block } from './body.ts'
import { type Message, stoppedAt, stopReason, thoughtsOf, usageOf } from './resource.ts'
import { sealThought } from './thoughts.ts'

/** The same from bytes to bytes. @see messageOf */
export const chatAsMessage: Conversion<{ usage: Usage; candidate: string; stops: readonly string[] }, null> = {
  module: import.meta.url,
  name: 'chatAsMessage',
  run(body, { usage, candidate, stops }) {
    const json = parseJson(body)
    const message = messageOf(isObject(json) ? json : {}, usage, candidate, stops)
    return { body: Buffer.from(JSON.stringify(message)), told: null }
  },
}

/**
 * A whole chat completion as a message.
 *
 * @param usage as counted, or estimated
 * @param candidate who answered: its thoughts go back to it alone
 * @param stops where the request wanted it to stop
 */
export function messageOf(
  completion: Record<string, unknown>,
  usage: Usage,
  candidate: string,
  stops: readonly string[] = [],
): Message {
  const choice: unknown = Array.isArray(completion.choices) ? completion.choices[0] : null
  const { message, finish_reason: reason } = isObject(choice) ? choice : {}
  const said = isObject(message) ? message : {}
  const calls = Array.isArray(said.tool_calls) ? said.tool_calls.filter(isObject) : []
  const texts = [said.content, said.refusal].filter((text) => typeof text === 'string' && text !== '') as string[]
  const refused = typeof said.refusal === 'string' && said.refusal !== ''
  const ended = stopReason(typeof reason === 'string' ? reason : null, calls.length > 0)
  const stop = !refused && ended === 'end_turn' && isObject(choice) ? stoppedAt(choice, stops) : null
  return {
    id: typeof completion.id === 'string' ? completion.id : '',
    type: 'message',
    role: 'assistant',
    model: typeof completion.model === 'string' ? completion.model : '',
    content: [
      ...thoughtsOf(said).map((thought) => sealThought(candidate, thought)),
      ...texts.map((text): Block => ({ type: 'text', text })),
      ...calls.flatMap((call) => toolUse(call, candidate)),
    ],
    stop_reason: refused ? 'refusal' : stop === null ? ended : 'stop_sequence',
    stop_sequence: stop,
    usage: usageOf(usage),
  }
}

function toolUse(call: Record<string, unknown>, candidate: string): Block[] {
  const { id: given, function: called } = call
  if (!isObject(called)) return []
  const id = String(given ?? '')
  const fields = callThoughtsOf(call)
  return [
    ...(fields ? [sealThought(candidate, { call: { id, fields } })] : []),
    { type: 'tool_use', id, name: String(called.name ?? ''), input: inputOf(called.arguments) },
  ]
}

/** Arguments that are no JSON object are told as they are: the client, and the model after it, see what is wrong. */
function inputOf(text: unknown): unknown {
  if (text === undefined || text === null || text === '') return {}
  try {
    const input: unknown = JSON.parse(String(text))
    if (isObject(input) && !Array.isArray(input)) return input
  } catch {
    // Said below.
  }
  return { arguments: String(text) }
}
