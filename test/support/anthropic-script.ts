import type { Json } from './responses-spec.ts'
import type { Exchange, Script } from './upstream.ts'

/**
 * A Claude that says and calls what it is asked for: as the Messages API answers, streamed or not, with thoughts where
 * thinking is on. It refuses what the API refuses: a missing version header, no `max_tokens`, a first turn that is not
 * the user's, unknown roles, tool results without their call (platform.claude.com/docs/en/api/messages).
 */
export const claude: Script = (exchange) => {
  const body = exchange.json as Json
  const problem = problemOf(exchange, body)
  if (problem) {
    exchange.reply(400, { type: 'error', error: { type: 'invalid_request_error', message: problem } })
    return
  }
  const blocks = answerOf(body)
  const stop = stopOf(body, blocks)
  const usage = { input_tokens: 20, output_tokens: 9, cache_read_input_tokens: 5, cache_creation_input_tokens: 0 }
  const message = {
    id: 'msg_01claude',
    type: 'message',
    role: 'assistant',
    model: body.model,
    stop_reason: stop,
    stop_sequence: null,
  }
  if (body.stream !== true) {
    exchange.reply(200, { ...message, content: blocks, usage })
    return
  }
  exchange.stream()
  const send = (data: Json) => exchange.chunk(`event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`)
  send({ type: 'message_start', message: { ...message, stop_reason: null, content: [], usage } })
  for (const [index, block] of blocks.entries()) {
    send({ type: 'content_block_start', index, content_block: emptied(block) })
    for (const delta of deltasOf(block)) send({ type: 'content_block_delta', index, delta })
    send({ type: 'content_block_stop', index })
  }
  send({ type: 'message_delta', delta: { stop_reason: stop, stop_sequence: null }, usage: { output_tokens: 9 } })
  send({ type: 'message_stop' })
  exchange.end()
}

function problemOf({ request }: Exchange, body: Json): string | null {
  if (!request.headers['anthropic-version']) return 'anthropic-version: header is required'
  if (!Number.isInteger(body.max_tokens)) return 'max_tokens: Field required'
  if (body.messages[0]?.role !== 'user') return 'messages: first message must use the "user" role'
  const called = new Set<string>()
  for (const [i, { role, content }] of body.messages.entries()) {
    if (role !== 'user' && role !== 'assistant') return `messages.${i}.role: unexpected role "${role}"`
    for (const block of Array.isArray(content) ? content : []) {
      if (block.type === 'tool_use') called.add(block.id)
      if (block.type === 'tool_result' && !called.has(block.tool_use_id)) {
        return `messages.${i}: unexpected tool_use_id found in tool_result blocks: ${block.tool_use_id}`
      }
      if (block.type === 'text' && block.text === '') return `messages.${i}: text content blocks must be non-empty`
      if (block.type === 'thinking' && block.signature !== SIGNATURE)
        return `messages.${i}: Invalid signature in thinking block`
    }
  }
  return null
}

export const SIGNATURE = 'c2lnbmF0dXJl'

function answerOf(body: Json): Json[] {
  const thoughts: Json[] =
    body.thinking && body.thinking.type !== 'disabled'
      ? [{ type: 'thinking', thinking: 'Let me think about that.', signature: SIGNATURE }]
      : []
  const last = body.messages.at(-1)?.content
  const hasResult = Array.isArray(last) && last.some(({ type }: Json) => type === 'tool_result')
  const tools: Json[] = body.tools ?? []
  const forced = body.tool_choice?.type === 'any' || body.tool_choice?.type === 'tool'
  if (tools.length > 0 && !hasResult && (forced || thoughts.length > 0)) {
    const tool = tools.find(({ name }) => name === body.tool_choice?.name) ?? tools[0]!
    const input = Object.fromEntries(Object.keys(tool.input_schema?.properties ?? {}).map((key) => [key, 'Paris']))
    return [...thoughts, { type: 'tool_use', id: 'toolu_01A', name: tool.name, input }]
  }
  const text = body.output_config?.format ? '{"answer":"Paris"}' : 'Paris is the capital of France.'
  return [...thoughts, { type: 'text', text }]
}

function stopOf(body: Json, blocks: readonly Json[]): string {
  if (blocks.some(({ type }) => type === 'tool_use')) return 'tool_use'
  return body.max_tokens < 16 ? 'max_tokens' : 'end_turn'
}

function emptied(block: Json): Json {
  if (block.type === 'text') return { type: 'text', text: '' }
  if (block.type === 'thinking') return { type: 'thinking', thinking: '', signature: '' }
  return { ...block, input: {} }
}

function deltasOf(block: Json): Json[] {
  const halves = (text: string) => [text.slice(0, text.length / 2), text.slice(text.length / 2)]
  if (block.type === 'text') return halves(block.text).map((text) => ({ type: 'text_delta', text }))
  if (block.type === 'thinking') {
    const said = halves(block.thinking).map((thinking) => ({ type: 'thinking_delta', thinking }))
    return [...said, { type: 'signature_delta', signature: block.signature }]
  }
  return halves(JSON.stringify(block.input)).map((partial_json) => ({ type: 'input_json_delta', partial_json }))
}
