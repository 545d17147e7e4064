import type { Body } from './emulator.ts'
import { ANSWERS, GIF, PDF, PNG, SCHEMAS, STRICT, WORDS } from './generate.ts'
import type { Call, Message, Part } from './rules.ts'

/** Random requests of the other endpoints, and what each of them says as a chat completion, told here anew. */

interface Draws {
  below(n: number): number
  pick<T>(items: readonly T[]): T
  chance(p: number): boolean
  text(): string
}

function drawsFrom(random: () => number): Draws {
  const below = (n: number) => Math.floor(random() * n)
  const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T
  return {
    below,
    pick,
    chance: (p) => random() < p,
    text: () => Array.from({ length: 1 + below(4) }, () => pick(WORDS)).join(' '),
  }
}

type Fields = Record<string, unknown>

interface Block extends Fields {
  type: string
}

/** A request of Anthropic's Messages API, as its reference allows. */
export function anyMessages(random: () => number): Body {
  const { pick, chance, text, below } = drawsFrom(random)
  const words = (): string | Block[] => (chance(0.6) ? text() : [{ type: 'text', text: text() }])
  const image = (): Block => {
    const source = pick<Fields>([
      { type: 'base64', media_type: 'image/png', data: PNG },
      { type: 'base64', media_type: 'image/gif', data: GIF },
      { type: 'url', url: 'https://example.com/a.png' },
    ])
    return { type: 'image', source }
  }
  const user = (): Fields => {
    if (chance(0.7)) return { role: 'user', content: words() }
    const file = { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: PDF } }
    return { role: 'user', content: [{ type: 'text', text: text() }, chance(0.8) ? image() : file] }
  }
  const names = ['read', 'get_weather', 'search-web'].slice(0, 1 + below(3))
  const wantsTools = chance(0.5)
  const messages: Fields[] = [user()]
  let calls = 0
  for (let turn = below(4); turn > 0; turn--) {
    if (wantsTools && chance(0.6)) {
      const made: Block[] = Array.from({ length: 1 + below(2) }, () => ({
        type: 'tool_use',
        id: pick([`toolu_${calls++}x`, `call_${calls++}`]),
        name: pick(names),
        input: pick<Fields>([{}, { city: 'Rome' }, { a: { b: [1] } }]),
      }))
      messages.push({ role: 'assistant', content: chance(0.5) ? [{ type: 'text', text: text() }, ...made] : made })
      const results = made.map(({ id }) => ({
        type: 'tool_result',
        tool_use_id: id,
        content: pick<unknown>([text(), [{ type: 'text', text: text() }]]),
        ...(chance(0.15) && { is_error: true }),
      }))
      // A reminder beside the results, as agents send it.
      messages.push({ role: 'user', content: chance(0.2) ? [...results, { type: 'text', text: text() }] : results })
    } else messages.push({ role: 'assistant', content: words() }, user())
  }
  const tools = names.map((name) => ({
    name,
    ...(chance(0.8) && { description: text() }),
    input_schema: pick(SCHEMAS),
  }))
  const hasCalls = calls > 0
  const choice = pick<Fields>([{ type: 'auto' }, { type: 'any' }, { type: 'none' }, { type: 'tool', name: names[0] }])
  const schema = pick([STRICT, ANSWERS[2]])
  const stream = chance(0.5)
  return {
    model: 'auto',
    // More, the SDKs want to be streamed.
    max_tokens: pick([16, 1_000, 4_096, stream ? 32_000 : 20_000]),
    messages,
    ...(chance(0.5) && { system: words() }),
    ...((wantsTools || hasCalls) && {
      tools,
      ...(chance(0.3) && {
        tool_choice: { ...choice, ...(chance(0.3) && choice.type !== 'none' && { disable_parallel_tool_use: true }) },
      }),
    }),
    ...pick<Fields>([{}, {}, { temperature: pick([0, 0.3, 1]) }, { top_p: 0.9 }]),
    ...(chance(0.1) && { top_k: 40 }),
    ...(chance(0.15) && { stop_sequences: pick([['END'], ['a', 'b']]) }),
    ...(chance(0.2) && { metadata: { user_id: 'u-1' } }),
    ...(chance(0.1) && !wantsTools && { output_config: { format: { type: 'json_schema', schema } } }),
    ...(stream && { stream }),
  }
}

/** A request of OpenAI's Responses API, as its reference allows. */
export function anyResponses(random: () => number): Body {
  const { pick, chance, text, below } = drawsFrom(random)
  const hasCustom = chance(0.15)
  const wantsTools = hasCustom || chance(0.45)
  const names = ['read', 'get_weather'].slice(0, 1 + below(2))
  const parts = (): Fields[] => {
    const image = pick([`data:image/png;base64,${PNG}`, 'https://example.com/a.png'])
    const file = { type: 'input_file', filename: 'a.pdf', file_data: `data:application/pdf;base64,${PDF}` }
    const more = chance(0.3) ? [{ type: 'input_image', image_url: image }] : chance(0.1) ? [file] : []
    return [{ type: 'input_text', text: text() }, ...more]
  }
  const user = (): Fields => ({ role: 'user', content: chance(0.6) ? text() : parts() })
  const input: Fields[] = []
  if (chance(0.4)) input.push({ role: pick(['developer', 'system']), content: text() })
  input.push(user())
  let calls = 0
  for (let turn = below(4); turn > 0; turn--) {
    if (wantsTools && chance(0.6)) {
      const isCustom = hasCustom && chance(0.5)
      const made = Array.from({ length: isCustom ? 1 : 1 + below(2) }, () => `call_${calls++}`)
      for (const call_id of made) {
        if (isCustom) input.push({ type: 'custom_tool_call', call_id, name: 'shell', input: 'ls -l' })
        else
          input.push({ type: 'function_call', call_id, name: pick(names), arguments: pick(['{}', '{"city":"Rome"}']) })
      }
      const type = isCustom ? 'custom_tool_call_output' : 'function_call_output'
      for (const call_id of made) input.push({ type, call_id, output: text() })
      if (chance(0.5)) continue
    }
    const said = { type: 'output_text', text: text(), annotations: [] }
    input.push(
      { type: 'message', role: 'assistant', ...(chance(0.5) && { id: `msg_${turn}` }), content: [said] },
      user(),
    )
  }
  const tools: Fields[] = names.map((name) => {
    const strict = chance(0.4)
    const description = chance(0.8) ? { description: text() } : {}
    return { type: 'function', name, ...description, parameters: strict ? STRICT : pick(SCHEMAS), strict }
  })
  if (hasCustom) {
    const format = { type: 'grammar', syntax: 'lark', definition: 'start: "a"' }
    tools.push({ type: 'custom', name: 'shell', description: text(), ...(chance(0.5) && { format }) })
  }
  const one = { type: 'function', name: names[0] }
  const choices = ['auto', 'none', 'required', one, { type: 'allowed_tools', mode: 'auto', tools: [one] }]
  const schema = { type: 'json_schema', name: 'a', schema: STRICT, strict: true }
  const text_ = {
    ...(chance(0.5) && { format: pick<Fields>([{ type: 'text' }, schema]) }),
    ...(chance(0.5) && { verbosity: pick(['low', 'medium', 'high']) }),
  }
  return {
    model: 'auto',
    input: calls === 0 && input.length === 1 && chance(0.5) ? text() : input,
    store: false,
    ...(chance(0.4) && { instructions: text() }),
    ...((wantsTools || calls > 0) && {
      tools,
      ...(chance(0.3) && { tool_choice: pick<unknown>(choices) }),
      ...(chance(0.2) && { parallel_tool_calls: chance(0.5) }),
    }),
    ...(chance(0.25) && { temperature: pick([0, 0.7, 1, 1.5]) }),
    ...(chance(0.1) && { top_p: pick([0.5, 1]) }),
    ...(chance(0.3) && { max_output_tokens: pick([16, 1_000, 12_000]) }),
    ...(chance(0.25) && { reasoning: { effort: pick(['none', 'minimal', 'low', 'medium', 'high', 'xhigh']) } }),
    ...(chance(0.25) && { text: text_ }),
    ...(chance(0.1) && { user: 'u-1' }),
    ...(chance(0.1) && { safety_identifier: 's-1' }),
    ...(chance(0.1) && { prompt_cache_key: 'k-1' }),
    ...(chance(0.1) && { metadata: { team: 'a' } }),
    ...(chance(0.1) && { truncation: pick(['auto', 'disabled']) }),
    ...(chance(0.1) && { service_tier: pick(['auto', 'default']) }),
    ...(chance(0.1) && { include: ['reasoning.encrypted_content'] }),
    ...(chance(0.5) && { stream: true }),
  }
}

/** A request of OpenAI's legacy completions. */
export function anyCompletion(random: () => number): Body & { prompt: string } {
  const { pick, chance, text } = drawsFrom(random)
  return {
    model: 'auto',
    prompt: text(),
    ...(chance(0.2) && { suffix: text() }),
    ...(chance(0.5) && { max_tokens: pick([1, 16, 2_000]) }),
    ...(chance(0.3) && { temperature: pick([0, 0.7, 1.5]) }),
    ...(chance(0.1) && { top_p: 0.9 }),
    ...(chance(0.2) && { stop: pick<unknown>(['END', ['a', 'b']]) }),
    ...(chance(0.1) && { n: 2 }),
    ...(chance(0.1) && { echo: true }),
    ...(chance(0.1) && { seed: 7 }),
    ...(chance(0.1) && { user: 'u-1' }),
    ...(chance(0.5) && { stream: true }),
  }
}

const blocksOf = (content: unknown): Block[] =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : ((content ?? []) as Block[])

const given = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

function partOf({ type, text, source }: Block): Part {
  if (type === 'text') return { type: 'text', text: String(text) }
  const { type: kind, media_type: media, data, url } = source as Record<string, string>
  const address = kind === 'url' ? url : `data:${media};base64,${data}`
  return type === 'image'
    ? { type: 'image_url', image_url: { url: address } }
    : { type: 'file', file: { file_data: address } }
}

/** A Messages request as a chat completion. */
export function chatOfMessages(body: Body): Body {
  const messages: Message[] = blocksOf(body.system).map(({ text }) => ({ role: 'system', content: String(text) }))
  for (const { role, content } of body.messages as { role: string; content: unknown }[]) {
    const blocks = blocksOf(content)
    for (const { type, tool_use_id: id, content: result, is_error: failed } of blocks) {
      if (type !== 'tool_result') continue
      const said = blocksOf(result)
        .map(({ text }) => text)
        .join('\n')
      messages.push({ role: 'tool', tool_call_id: String(id), content: failed ? `Error: ${said}` : said })
    }
    const parts = blocks.filter(({ type }) => ['text', 'image', 'document'].includes(type)).map(partOf)
    const calls = blocks.flatMap(({ type, id, name, input }): Call[] =>
      type === 'tool_use'
        ? [{ id: String(id), type: 'function', function: { name: String(name), arguments: JSON.stringify(input) } }]
        : [],
    )
    if (parts.length + calls.length > 0)
      messages.push({ role, content: parts.length > 0 ? parts : null, ...(calls.length > 0 && { tool_calls: calls }) })
  }
  const choice = body.tool_choice as { type: string; name?: string; disable_parallel_tool_use?: boolean } | undefined
  const format = (body.output_config as { format?: { schema: unknown } } | undefined)?.format
  const choices: Fields = {
    any: 'required',
    none: 'none',
    tool: { type: 'function', function: { name: choice?.name } },
  }
  const tools = (body.tools as Fields[] | undefined)?.map(({ name, description, input_schema: parameters }) => ({
    type: 'function',
    function: given({ name, description, parameters }),
  }))
  return {
    ...given({
      tools,
      tool_choice: choice && choices[choice.type],
      parallel_tool_calls: choice?.disable_parallel_tool_use ? false : undefined,
      // Above, it is a bound that each request must have, and a model's own may be nearer.
      max_tokens: Number(body.max_tokens) <= 4_096 ? body.max_tokens : undefined,
      temperature: body.temperature,
      top_p: body.top_p,
      top_k: body.top_k,
      user: (body.metadata as { user_id?: string } | undefined)?.user_id,
      stop: body.stop_sequences,
      response_format: format && { type: 'json_schema', json_schema: { name: 'answer', schema: format.schema } },
    }),
    model: body.model,
    messages,
  }
}

/** Of a custom tool where there are functions alone. */
const customTool = ({ name, description, format }: Fields) => {
  const { syntax, definition } = (format ?? {}) as Fields
  const told = definition === undefined ? '' : `The input must match this ${syntax} grammar:\n${definition}`
  const parameters = { type: 'object', properties: { input: { type: 'string' } } }
  return {
    type: 'function',
    function: { name, description: [description, told].filter(Boolean).join('\n\n'), parameters },
  }
}

/** A Responses request as a chat completion. */
export function chatOfResponses(body: Body): Body {
  const messages: Message[] = body.instructions ? [{ role: 'system', content: String(body.instructions) }] : []
  const items: Fields[] =
    typeof body.input === 'string' ? [{ role: 'user', content: body.input }] : (body.input as Fields[])
  for (const item of items) {
    const { type = 'message', role, content, call_id: id, name, output } = item
    const last = messages.at(-1)
    if (type === 'message')
      messages.push({
        role: String(role),
        content: typeof content === 'string' ? content : (content as Fields[]).map(chatPart),
      })
    else if (String(type).endsWith('_output'))
      messages.push({ role: 'tool', tool_call_id: String(id), content: String(output) })
    else {
      const args = type === 'custom_tool_call' ? JSON.stringify({ input: item.input }) : String(item.arguments)
      const call: Call = { id: String(id), type: 'function', function: { name: String(name), arguments: args } }
      if (last?.role === 'assistant') last.tool_calls = [...(last.tool_calls ?? []), call]
      else messages.push({ role: 'assistant', content: null, tool_calls: [call] })
    }
  }
  const tools = (body.tools as Fields[] | undefined)?.map((tool) => {
    const { type, name, description, parameters } = tool
    return type === 'custom'
      ? customTool(tool)
      : { type: 'function', function: given({ name, description, parameters }) }
  })
  const choice = body.tool_choice as
    | string
    | { type: string; name?: string; mode?: string; tools?: Fields[] }
    | undefined
  const allowed = typeof choice === 'object' && choice.type === 'allowed_tools' ? choice : undefined
  const names = allowed?.tools?.map(({ name }) => name)
  const { format, verbosity } = (body.text ?? {}) as { format?: Fields; verbosity?: string }
  const { type: form, name, schema, strict } = format ?? {}
  return {
    ...given({
      tools: names ? tools?.filter((tool) => names.includes(tool.function.name)) : tools,
      tool_choice: allowed
        ? allowed.mode
        : typeof choice === 'object'
          ? { type: 'function', function: { name: choice.name } }
          : choice,
      parallel_tool_calls: body.parallel_tool_calls,
      response_format: form === 'json_schema' ? { type: form, json_schema: { name, schema, strict } } : undefined,
      verbosity,
      reasoning_effort: (body.reasoning as { effort?: string } | undefined)?.effort,
      max_tokens: body.max_output_tokens,
      temperature: body.temperature,
      top_p: body.top_p,
      user: body.user,
      safety_identifier: body.safety_identifier,
      prompt_cache_key: body.prompt_cache_key,
    }),
    model: body.model,
    messages,
  }
}

/** A Responses request that a gateway made of a chat completion, as that. */
export function chatOfConverted(body: Body): Body {
  const messages: Message[] = []
  const hasCalls = () => messages.at(-1)?.role === 'assistant'
  for (const { type, role, content, call_id, name, output, ...item } of body.input as Fields[]) {
    const id = String(call_id)
    const call = (made: Fields) => {
      const one = { id, ...made } as Call
      const last = messages.at(-1)
      if (hasCalls() && last) last.tool_calls = [...(last.tool_calls ?? []), one]
      else messages.push({ role: 'assistant', content: null, tool_calls: [one] })
    }
    if (type === 'message')
      messages.push({
        role: String(role),
        content: typeof content === 'string' ? content : (content as Fields[]).map(chatPart),
      })
    if (type === 'function_call') call({ type: 'function', function: { name, arguments: item.arguments } })
    if (type === 'custom_tool_call') call({ type: 'custom', custom: { name, input: item.input } })
    if (String(type).endsWith('_output')) {
      const parts = typeof output === 'string' ? output : (output as Fields[]).map(chatPart)
      messages.push({ role: 'tool', tool_call_id: id, content: parts })
    }
  }
  const nested = ({ type, ...rest }: Fields) => ({ type, [String(type)]: rest })
  const { input, reasoning, text, include, max_output_tokens: most, ...rest } = body
  const { format, verbosity } = (text ?? {}) as { format?: Fields; verbosity?: string }
  const choice = rest.tool_choice as Fields | string | undefined
  const tools = (rest.tools as Fields[] | undefined)?.map(nested) as Body['tools']
  const allowed = typeof choice === 'object' && Array.isArray(choice.tools) ? (choice.tools as Fields[]) : null
  return {
    ...rest,
    messages,
    ...given({
      tools,
      tool_choice: allowed
        ? { type: 'allowed_tools', allowed_tools: { mode: (choice as Fields).mode, tools: allowed.map(nested) } }
        : typeof choice === 'object'
          ? nested(choice)
          : choice,
      response_format: format?.type === 'json_schema' ? nested(format) : format,
      verbosity,
      reasoning_effort: (reasoning as Fields | undefined)?.effort,
      max_completion_tokens: most,
      logprobs: (include as string[] | undefined)?.includes('message.output_text.logprobs') || undefined,
    }),
  }
}

function chatPart({ type, text, image_url: url, file_data: data, file_id: id }: Fields): Part {
  if (type === 'input_image') return { type: 'image_url', image_url: { url } }
  if (type === 'input_file') return { type: 'file', file: given({ file_data: data, file_id: id }) }
  return { type: 'text', text: String(text) }
}
