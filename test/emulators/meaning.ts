import { hash } from 'node:crypto'
import type { Body } from './emulator.ts'
import { callsOf, type Message, messagesOf, type Part, toolsOf } from './rules.ts'

/** What a request says, in whichever API's words: what two of them must agree on to mean the same. */
export interface Meaning {
  system: string[]
  /** `user: text`, `assistant: text`, `call: name arguments`, `result: of which call, text`, in order. */
  said: string[]
  tools: string[]
  /** Parameter -> value, but for those that say nothing. */
  parameters: Record<string, unknown>
}

const short = (text: string) => hash('sha256', text, 'base64url').slice(0, 10)
const isBlank = (text: string) => text.trim() === ''

function ofPart(part: Part): string | null {
  switch (part.type) {
    case 'text':
      return part.text ?? ''
    case 'refusal':
      return String(part.refusal)
    case 'image_url': {
      const { url } = part.image_url as { url: string }
      return `[image ${short(url.slice(url.indexOf(',') + 1))}]`
    }
    case 'file':
      return `[file ${short((part.file as { file_data: string }).file_data.split(',')[1] ?? '')}]`
    default:
      return `[${part.type}]`
  }
}

const textsOf = ({ content }: Pick<Message, 'content'>): string[] =>
  (typeof content === 'string' ? [content] : (content ?? []).map(ofPart)).filter(
    (text): text is string => text !== null && !isBlank(text),
  )

/** Names of properties, wherever they stand: the words for constraints differ. */
function shapeOf(schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return []
  return Object.entries((schema as { properties?: object }).properties ?? {})
    .map(([name, inner]) => [name, shapeOf(inner)])
    .sort()
}

const NEUTRAL: Record<string, unknown[]> = {
  n: [1],
  logprobs: [false],
  temperature: [1],
  top_p: [1],
  presence_penalty: [0],
  frequency_penalty: [0],
  store: [false],
  service_tier: ['auto', 'default'],
  parallel_tool_calls: [true],
  tool_choice: ['auto'],
  verbosity: ['medium'],
}

function parametersOf(body: Record<string, unknown>): Record<string, unknown> {
  const {
    model,
    messages,
    stream,
    stream_options,
    tools,
    max_tokens: old,
    max_completion_tokens: now,
    random_seed: seed,
    ...rest
  } = body
  const all: Record<string, unknown> = { ...rest, max_tokens: now ?? old, seed: rest.seed ?? seed }
  if ((all.response_format as { type?: string } | undefined)?.type === 'text') delete all.response_format
  if (typeof all.stop === 'string') all.stop = [all.stop]
  for (const [field, value] of Object.entries(all))
    if (value === undefined || NEUTRAL[field]?.includes(value)) delete all[field]
  return all
}

export function meaningOf(body: Body): Meaning {
  const meaning: Meaning = { system: [], said: [], tools: [], parameters: parametersOf(body) }
  let calls = 0
  let open: { id: string; number: number }[] = []
  for (const message of messagesOf(body)) {
    if (message.role === 'system' || message.role === 'developer') {
      meaning.system.push(...textsOf(message))
      continue
    }
    if (message.role === 'tool') {
      const at = open.findIndex(({ id }) => id === message.tool_call_id)
      meaning.said.push(`result: ${at < 0 ? '?' : open.splice(at, 1)[0]?.number} ${textsOf(message).join('')}`)
      continue
    }
    for (const text of textsOf(message)) meaning.said.push(`${message.role}: ${text}`)
    const made = callsOf(message).map((call) => ({ id: call.id, number: calls++, call }))
    if (made.length > 0) open = made
    for (const { call } of made)
      meaning.said.push(`call: ${call.function.name} ${JSON.stringify(JSON.parse(call.function.arguments || '{}'))}`)
  }
  meaning.tools = toolsOf(body).map(
    ({ function: called }) =>
      `${called?.name} ${called?.description ?? ''} ${JSON.stringify(shapeOf(called?.parameters))}`,
  )
  return meaning
}

interface Block {
  type: string
  text?: string
  id?: string
  name?: string
  input?: unknown
  tool_use_id?: string
  content?: Block[]
  source?: { type: string; url?: string; data?: string }
}

/** Of a Messages request of Anthropic's. */
export function meaningOfMessages(body: Body): Meaning {
  const meaning: Meaning = { system: [], said: [], tools: [], parameters: {} }
  for (const { text } of (body.system ?? []) as Block[]) {
    if (!text?.startsWith('Answer with a single JSON object')) meaning.system.push(text ?? '')
  }
  const numbers = new Map<string, number>()
  for (const { role, content } of body.messages as { role: string; content: Block[] }[]) {
    for (const block of content) {
      if (block.type === 'text') meaning.said.push(`${role}: ${block.text}`)
      if (block.type === 'image')
        meaning.said.push(`${role}: [image ${short(block.source?.url ?? block.source?.data ?? '')}]`)
      if (block.type === 'document') meaning.said.push(`${role}: [file ${short(block.source?.data ?? '')}]`)
      if (block.type === 'tool_use') {
        numbers.set(block.id ?? '', numbers.size)
        meaning.said.push(`call: ${block.name} ${JSON.stringify(block.input)}`)
      }
      if (block.type === 'tool_result')
        meaning.said.push(
          `result: ${numbers.get(block.tool_use_id ?? '')} ${(block.content ?? []).map(({ text }) => text).join('')}`,
        )
    }
  }
  meaning.tools = ((body.tools ?? []) as { name: string; description?: string; input_schema: unknown }[])
    .filter(({ name }) => name !== 'json_answer')
    .map(
      ({ name, description, input_schema }) => `${name} ${description ?? ''} ${JSON.stringify(shapeOf(input_schema))}`,
    )
  const { temperature, top_p, stop_sequences, metadata, tool_choice, tools, output_config, thinking } = body as Body & {
    stop_sequences?: string[]
    metadata?: { user_id?: string }
    tool_choice?: { type: string; name?: string; disable_parallel_tool_use?: boolean }
    tools?: { name: string }[]
    output_config?: { format?: unknown }
  }
  meaning.parameters = {
    temperature,
    top_p,
    stop: stop_sequences,
    max_tokens: body.max_tokens,
    user: metadata?.user_id,
    choice: tool_choice?.type,
    single: tool_choice?.disable_parallel_tool_use === true,
    schema: output_config?.format !== undefined || tools?.some(({ name }) => name === 'json_answer') === true,
    thinking,
  }
  return meaning
}

/**
 * What an emulator got that is not what was asked, but for what was told as dropped; null where nothing is lost.
 *
 * @param dropped `x-router-dropped`
 */
export function lossOf(asked: Body, emulator: string, received: Body, dropped: readonly string[]): string | null {
  const want = meaningOf(asked)
  const got = emulator === 'anthropic' ? meaningOfMessages(received) : meaningOf(received)
  const differs = (a: unknown, b: unknown) => JSON.stringify(a) !== JSON.stringify(b)
  if (differs(want.system, got.system))
    return `system: ${JSON.stringify(got.system)} for ${JSON.stringify(want.system)}`
  // Results of one turn may stand in any order, each beside its call's number.
  if (differs(sorted(want.said), sorted(got.said)))
    return `said: ${JSON.stringify(got.said)} for ${JSON.stringify(want.said)}`
  if (differs(want.tools, got.tools)) return `tools: ${JSON.stringify(got.tools)} for ${JSON.stringify(want.tools)}`
  for (const [field, value] of Object.entries(want.parameters)) {
    if (dropped.includes(field)) continue
    const loss =
      emulator === 'anthropic'
        ? lossInMessages(field, value, want.parameters, got.parameters)
        : lossOfField(field, value, got.parameters[field])
    if (loss) return `${field}: ${JSON.stringify(got.parameters[field])} for ${JSON.stringify(value)}`
  }
  return null
}

/** Results that came between the same two other things. */
function sorted(said: readonly string[]): string[] {
  const out: string[] = []
  let results: string[] = []
  for (const one of [...said, '']) {
    if (one.startsWith('result: ')) results.push(one)
    else {
      out.push(...results.sort(), one)
      results = []
    }
  }
  return out
}

const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh']

function lossOfField(field: string, asked: unknown, got: unknown): boolean {
  // The nearest that the model knows.
  if (field === 'reasoning_effort') return Math.abs(EFFORTS.indexOf(String(asked)) - EFFORTS.indexOf(String(got))) > 1
  if (field === 'temperature' && typeof got === 'number') return Math.min(Number(asked), 1.5) !== got && asked !== got
  return JSON.stringify(asked) !== JSON.stringify(got)
}

function lossInMessages(
  field: string,
  value: unknown,
  asked: Record<string, unknown>,
  got: Record<string, unknown>,
): boolean {
  switch (field) {
    case 'temperature':
      return got.temperature !== Math.min(1, Number(value))
    case 'top_p':
      return got.top_p !== value
    case 'user':
      return asked.safety_identifier === undefined && got.user !== value
    case 'safety_identifier':
      return got.user !== value
    case 'tool_choice': {
      const names: Record<string, string> = { none: 'none', required: 'any' }
      return got.choice !== (typeof value === 'string' ? names[value] : 'tool')
    }
    case 'parallel_tool_calls':
      return got.single !== true && asked.tool_choice !== 'none'
    case 'response_format':
      return (value as { type: string }).type === 'json_schema' && got.schema !== true
    case 'reasoning_effort':
      // Not with forced tools, nor in a loop whose thoughts did not come back, nor within few tokens.
      return false
    default:
      return JSON.stringify(value) !== JSON.stringify(got[field])
  }
}
