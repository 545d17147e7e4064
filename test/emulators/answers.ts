import type { Body } from './emulator.ts'
import { messagesOf, type Tool, toolsOf } from './rules.ts'

/** Answers in OpenAI's shape: something short for each thing that can be asked for. */

interface Choice {
  content: string | null
  calls: { id: string; type: string; function: { name: string; arguments: string } }[]
}

function choiceOf(body: Body, makeId: (index: number) => string): Choice {
  const wish = body.tool_choice as string | { function?: { name: string } } | undefined
  const named = typeof wish === 'object' ? wish.function?.name : undefined
  const called =
    wish === 'required' || named !== undefined
      ? toolsOf(body).find((tool: Tool) => named === undefined || tool.function?.name === named)
      : undefined
  if (called?.function) {
    return {
      content: null,
      calls: [{ id: makeId(0), type: 'function', function: { name: called.function.name, arguments: '{}' } }],
    }
  }
  const format = (body.response_format as { type?: string } | undefined)?.type
  return { content: format?.startsWith('json') ? '{"ok":true}' : 'Understood.', calls: [] }
}

const usageOf = (body: Body) => {
  const prompt = Math.ceil(JSON.stringify(messagesOf(body)).length / 4)
  return { prompt_tokens: prompt, completion_tokens: 3, total_tokens: prompt + 3 }
}

const choices = (body: Body) => Array.from({ length: Number(body.n ?? 1) }, (_, index) => index)
const logprobs = (body: Body) =>
  body.logprobs === true
    ? { content: [{ token: 'U', logprob: -0.1, bytes: [85], top_logprobs: [] }], refusal: null }
    : null

let answered = 0
const head = (body: Body, object: string) => ({
  id: `chatcmpl-${++answered}`,
  object,
  created: 1_790_000_000,
  model: body.model,
})

export type MakeId = (index: number) => string

export const openaiAnswer = (makeId: MakeId) => (body: Body) => ({
  ...head(body, 'chat.completion'),
  choices: choices(body).map((index) => {
    const { content, calls } = choiceOf(body, makeId)
    return {
      index,
      message: { role: 'assistant', content, refusal: null, ...(calls.length > 0 && { tool_calls: calls }) },
      logprobs: logprobs(body),
      finish_reason: calls.length > 0 ? 'tool_calls' : 'stop',
    }
  }),
  usage: usageOf(body),
})

export const openaiEvents =
  (makeId: MakeId, usage: 'asked' | 'always' | 'never' = 'asked') =>
  (body: Body) => {
    const first = head(body, 'chat.completion.chunk')
    const chunk = (index: number, delta: unknown, finish_reason: string | null = null) => ({
      data: {
        ...first,
        choices: [{ index, delta, logprobs: finish_reason === null ? logprobs(body) : null, finish_reason }],
      },
    })
    const events: { data: unknown }[] = choices(body).flatMap((index) => {
      const { content, calls } = choiceOf(body, makeId)
      return [
        chunk(index, { role: 'assistant', content: '' }),
        ...(content === null
          ? []
          : [...content.matchAll(/.{1,6}/gs)].map(([piece]) => chunk(index, { content: piece }))),
        ...calls.map((call, at) => chunk(index, { tool_calls: [{ index: at, ...call }] })),
        chunk(index, {}, calls.length > 0 ? 'tool_calls' : 'stop'),
      ]
    })
    const isAsked = (body.stream_options as { include_usage?: boolean } | undefined)?.include_usage === true
    if (usage === 'always' || (usage === 'asked' && isAsked))
      events.push({ data: { ...first, choices: [], usage: usageOf(body) } })
    return events
  }
