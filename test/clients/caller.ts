import { randomUUID } from 'node:crypto'
import type { Json } from '../support/responses-spec.ts'
import { chunkOf, completionBody, type Exchange, type Script, usageChunk } from '../support/upstream.ts'

/** Tools of coding agents that run what they are given, and what harmless thing to give them. */
const COMMANDS: Record<string, Json> = {
  Bash: { command: 'echo tool-was-here', description: 'Say hello' },
  bash: { command: 'echo tool-was-here', description: 'Say hello' },
  run_shell_command: { command: 'echo tool-was-here', description: 'Say hello', is_background: false },
  exec_command: { cmd: 'echo tool-was-here' },
  shell: { command: ['echo', 'tool-was-here'] },
  shell_command: { command: 'echo tool-was-here' },
}

const THOUGHT = 'They want to know. I should look.'

/** A model that thinks, calls one tool, once, with harmless arguments, and then repeats what the tool returned. */
export const caller: Script = (exchange) => {
  const body = exchange.json as Json
  if (exchange.request.path.endsWith('/embeddings')) {
    embed(exchange, body)
    return
  }
  // Clients tell answers apart by their ids.
  const id = `chatcmpl-${randomUUID()}`
  const results = body.messages.filter(({ role }: Json) => role === 'tool')
  const tools: Json[] = (body.tools ?? []).map((tool: Json) => tool.function)
  const asked = textOf(body.messages.findLast(({ role }: Json) => role === 'user')?.content ?? '')
  const tool =
    tools.find(({ name }) => asked.endsWith(`Call ${name}.`)) ?? tools.find(({ name }) => name in COMMANDS) ?? tools[0]
  const calls =
    tool && results.length === 0
      ? [{ id: 'call_1', type: 'function', function: { name: tool.name, arguments: JSON.stringify(inputOf(tool)) } }]
      : null
  const content = calls ? null : `The tool said: ${results.map((one: Json) => textOf(one.content)).join(' ')}`
  if (body.stream !== true) {
    const message = { role: 'assistant', content, reasoning_content: THOUGHT, ...(calls && { tool_calls: calls }) }
    const choices = [{ index: 0, message, logprobs: null, finish_reason: calls ? 'tool_calls' : 'stop' }]
    exchange.reply(200, { ...completionBody(), id, choices })
    return
  }
  exchange.stream()
  const send = (chunk: Json) => exchange.event({ ...chunk, id })
  send(chunkOf({ role: 'assistant', reasoning_content: THOUGHT }))
  if (calls) send(chunkOf({ tool_calls: calls.map((call) => ({ index: 0, ...call })) }))
  else for (const word of String(content).split(/(?<= )/)) send(chunkOf({ content: word }))
  send(chunkOf({}, calls ? 'tool_calls' : 'stop'))
  send(usageChunk)
  exchange.chunk('data: [DONE]\n\n')
  exchange.end()
}

function embed(exchange: Exchange, { model, input }: Json): void {
  const data = [input].flat().map((_, index) => ({ object: 'embedding', index, embedding: [0.25, -0.5, 1] }))
  exchange.reply(200, { object: 'list', model, data, usage: { prompt_tokens: 7, total_tokens: 7 } })
}

function inputOf({ name, parameters }: Json): Json {
  if (name in COMMANDS) return COMMANDS[name] as Json
  const properties = Object.entries<Json>(parameters?.properties ?? {})
  return Object.fromEntries(
    properties.map(([key, { type }]) => [key, type === 'integer' || type === 'number' ? 1 : 'Lisbon']),
  )
}

const textOf = (content: unknown) =>
  typeof content === 'string' ? content : (content as Json[]).map(({ text }) => text ?? '').join('')
