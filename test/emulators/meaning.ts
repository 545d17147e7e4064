import { hash } from 'node:crypto'
import type { Body } from './emulator.ts'
import { type Call, callsOf, type Message, messagesOf, type Part, type Tool, toolsOf } from './rules.ts'

/** What a request says, in whichever API's words: what two of them must agree on to mean the same. */
export interface Meaning {
  system: string[]
  /** `user: text`, `assistant: text`, `call: name arguments`, `result: of which call, text`, in order. */
  said: string[]
  tools: string[]
  /** Of speakers. */
  names: string[]
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
    case 'file': {
      const { file_data: data, file_id: id } = part.file as { file_data?: string; file_id?: string }
      return `[file ${short(data?.split(',')[1] ?? id ?? '')}]`
    }
    case 'input_audio':
      return `[audio ${short((part.input_audio as { data: string }).data)}]`
    default:
      return `[${part.type}]`
  }
}

const textsOf = ({ content }: Pick<Message, 'content'>): string[] =>
  (typeof content === 'string' ? [content] : (content ?? []).map(ofPart)).filter(
    (text): text is string => text !== null && !isBlank(text),
  )

const collapsed = (text: string) => text.replace(/\s+/g, ' ').trim()

/** What one speaker says in a row, as one: how it is split into messages and parts means nothing. */
export function inARow(said: readonly string[]): string[] {
  const out: string[] = []
  let last = ''
  for (const one of said) {
    const [speaker = ''] = one.split(': ', 1)
    const isSame = (speaker === 'user' || speaker === 'assistant') && speaker === last
    const text = collapsed(one)
    if (isSame) out[out.length - 1] += ` ${text.slice(speaker.length + 2)}`
    else out.push(text)
    last = speaker
  }
  return out
}

type Schema = Record<string, unknown>

/** Names of properties, wherever they stand: the words for constraints differ. */
export function shapeOf(schema: unknown, root = schema as Schema, depth = 0): unknown {
  if (typeof schema !== 'object' || schema === null || depth > 1) return []
  const { $ref, properties, anyOf, oneOf, allOf } = schema as Schema
  if (typeof $ref === 'string') {
    const found = $ref
      .slice(2)
      .split('/')
      .reduce<unknown>((at, step) => (at as Schema)?.[step], root)
    return shapeOf(found, root, depth)
  }
  const choices = [anyOf, oneOf, allOf].flatMap((list) =>
    depth === 0 && Array.isArray(list) ? (list as Schema[]) : [],
  )
  const all = Object.assign({}, ...choices.map((one) => one.properties ?? {}), properties ?? {})
  return Object.entries(all)
    .map(([name, inner]) => [name, shapeOf(inner, root, depth + 1)])
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
  function_call: ['auto'],
  verbosity: ['medium'],
}

const isEmpty = (value: unknown) => typeof value === 'object' && (value === null || Object.keys(value).length === 0)

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
  if (JSON.stringify(all.modalities) === '["text"]') delete all.modalities
  // Without tools there is nothing to choose.
  if (toolsOf(body as Body).length === 0) for (const field of ['tool_choice', 'parallel_tool_calls']) delete all[field]
  for (const [field, value] of Object.entries(all))
    if (value === undefined || NEUTRAL[field]?.includes(value) || (isEmpty(value) && field !== 'web_search_options'))
      delete all[field]
  return all
}

export function meaningOf(body: Body): Meaning {
  const meaning: Meaning = { system: [], said: [], tools: [], names: [], parameters: parametersOf(body) }
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
    const before = meaning.said.length
    const refused = typeof message.refusal === 'string' ? [message.refusal] : []
    for (const text of [...textsOf(message), ...refused]) meaning.said.push(`${message.role}: ${text}`)
    if (message.audio) meaning.said.push(`${message.role}: [audio ${(message.audio as { id: string }).id}]`)
    const legacy = message.function_call as Call['function'] | undefined
    if (legacy) meaning.said.push(`call: ${legacy.name} ${legacy.arguments}`)
    const made = callsOf(message).map((call) => ({ id: call.id, number: calls++, call }))
    if (made.length > 0) open = made
    for (const { call } of made) meaning.said.push(sayCall(call))
    const saysSomething = meaning.said.length > before
    if (saysSomething && message.role !== 'function' && typeof message.name === 'string')
      meaning.names.push(message.name)
  }
  meaning.tools = toolsOf(body).map(sayTool)
  return meaning
}

const sayCall = ({ function: called, custom }: Call) =>
  custom
    ? `call: ${custom.name} ${custom.input}`
    : `call: ${called?.name} ${JSON.stringify(JSON.parse(called?.arguments || '{}'))}`

const sayTool = ({ function: called, custom }: Tool) =>
  custom
    ? `${custom.name} ${custom.description ?? ''} custom`
    : `${called?.name} ${called?.description ?? ''} ${JSON.stringify(shapeOf(called?.parameters))}`

interface Block {
  type: string
  text?: string
  id?: string
  name?: string
  input?: unknown
  tool_use_id?: string
  is_error?: boolean
  content?: string | Block[]
  source?: { type: string; url?: string; data?: string }
}

/** Of a Messages request of Anthropic's. */
export function meaningOfMessages(body: Body): Meaning {
  const meaning: Meaning = { system: [], said: [], tools: [], names: [], parameters: {} }
  const blocksOf = (content: string | Block[]): Block[] =>
    typeof content === 'string' ? [{ type: 'text', text: content }] : content
  for (const { text } of blocksOf((body.system ?? []) as string | Block[])) {
    if (!text?.startsWith('Answer with a single JSON object')) meaning.system.push(text ?? '')
  }
  const numbers = new Map<string, number>()
  for (const { role, content } of body.messages as { role: string; content: string | Block[] }[]) {
    for (const block of blocksOf(content)) {
      if (block.type === 'text' && !isBlank(block.text ?? '')) meaning.said.push(`${role}: ${block.text}`)
      if (block.type === 'image')
        meaning.said.push(`${role}: [image ${short(block.source?.url ?? block.source?.data ?? '')}]`)
      if (block.type === 'document') meaning.said.push(`${role}: [file ${short(block.source?.data ?? '')}]`)
      if (block.type === 'tool_use') {
        numbers.set(block.id ?? '', numbers.size)
        meaning.said.push(`call: ${block.name} ${JSON.stringify(block.input)}`)
      }
      if (block.type === 'tool_result') {
        const texts = blocksOf(block.content ?? '').map(({ text }) => text ?? '')
        const failed = block.is_error ? 'Error: ' : ''
        meaning.said.push(`result: ${numbers.get(block.tool_use_id ?? '')} ${failed}${texts.join('')}`)
      }
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
    top_k: body.top_k,
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
export function lossOf(
  asked: Body,
  emulator: string,
  received: Body,
  dropped: readonly string[],
  isConverted = false,
): string | null {
  const want = wanted(asked, emulator === 'openai')
  const got = emulator === 'anthropic' ? meaningOfMessages(received) : meaningOf(received)
  return lossOfTalk(want, got, isConverted && emulator === 'mistral') ?? lossOfRest(want, got, emulator, dropped)
}

/** Who speaks, and parameters. */
export function lossOfRest(want: Meaning, got: Meaning, emulator: string, dropped: readonly string[]): string | null {
  if (emulator !== 'anthropic' && !dropped.includes('messages.name') && differs(want.names, got.names))
    return `names: ${JSON.stringify(got.names)} for ${JSON.stringify(want.names)}`
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

const differs = (a: unknown, b: unknown) => JSON.stringify(a) !== JSON.stringify(b)

/** What a user says right after a result, as its last words: where a converter may tell it so. */
function withinResults(said: readonly string[]): string[] {
  const out: string[] = []
  for (const one of said) {
    if (one.startsWith('user: ') && out.at(-1)?.startsWith('result: ')) out[out.length - 1] += ` ${one.slice(6)}`
    else out.push(one)
  }
  return out
}

/**
 * What is said and offered, whichever format it came in.
 *
 * @param isWithin what a user says right after a tool's result may be told as the result's last words
 */
export function lossOfTalk(want: Meaning, got: Meaning, isWithin = false): string | null {
  const order = (said: readonly string[]) => sorted(isWithin ? withinResults(inARow(said)) : inARow(said))
  const inWords = (texts: readonly string[]) => collapsed(texts.join(' '))
  if (inWords(want.system) !== inWords(got.system))
    return `system: ${JSON.stringify(got.system)} for ${JSON.stringify(want.system)}`
  // Results of one turn may stand in any order, each beside its call's number.
  if (differs(order(want.said), order(got.said)))
    return `said: ${JSON.stringify(got.said)} for ${JSON.stringify(want.said)}`
  const [wanted, offered] = [want.tools.map(collapsed), got.tools.map(collapsed)]
  return differs(wanted, offered) ? `tools: ${JSON.stringify(offered)} for ${JSON.stringify(wanted)}` : null
}

/** Where `allowed_tools` is not taken, the tools that it allows are offered alone. */
function wanted(asked: Body, isOpenai: boolean): Meaning {
  const choice = asked.tool_choice as { allowed_tools?: { mode: string; tools: Tool[] } } | undefined
  if (isOpenai || !choice?.allowed_tools) return meaningOf(asked)
  const { mode, tools } = choice.allowed_tools
  const names = tools.map((tool) => tool.function?.name)
  return meaningOf({
    ...asked,
    tools: toolsOf(asked).filter((tool) => names.includes(tool.function?.name)),
    tool_choice: mode,
  })
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
  // Cohere's form of the same.
  const inObject = got as { type?: string; schema?: unknown } | undefined
  if (field === 'response_format' && inObject?.type === 'json_object' && inObject.schema) {
    const { json_schema: given } = asked as { json_schema?: { schema?: unknown } }
    return JSON.stringify(given?.schema) !== JSON.stringify(inObject.schema)
  }
  // The nearest that the model knows.
  if (field === 'reasoning_effort') {
    // Some can't be kept from thinking, and OpenAI's `pro` models begin at medium.
    const most = asked === 'none' || asked === 'minimal' ? 2 : 1
    return Math.abs(EFFORTS.indexOf(String(asked)) - EFFORTS.indexOf(String(got))) > most
  }
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
