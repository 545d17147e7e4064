import type { Body } from './emulator.ts'
import { messagesOf, type Tool, toolsOf } from './rules.ts'

/** Answers in OpenAI's shape: something short for each thing that can be asked for. */

interface Choice {
  content: string | null
  calls: Record<string, unknown>[]
  /** Of the format before tools. */
  call?: { name: string; arguments: string }
  audio?: Record<string, unknown>
  finish: string
}

type Wish = { type?: string; function?: { name: string }; custom?: { name: string }; allowed_tools?: Allowed } | string
interface Allowed {
  mode: string
  tools: { function?: { name: string } }[]
}

function choiceOf(body: Body, makeId: (index: number) => string): Choice {
  const called = toolCalledBy(body)
  if (called) {
    const call = called.custom
      ? { type: 'custom', custom: { name: called.custom.name, input: 'a' } }
      : { type: 'function', function: { name: called.function?.name, arguments: '{}' } }
    return { content: null, calls: [{ id: makeId(0), ...call }], finish: 'tool_calls' }
  }
  const legacy = body.function_call as { name?: string } | string | undefined
  if (typeof legacy === 'object' && legacy?.name)
    return { content: null, calls: [], call: { name: legacy.name, arguments: '{}' }, finish: 'function_call' }
  const format = (body.response_format as { type?: string } | undefined)?.type
  const spoken = (body.modalities as string[] | undefined)?.includes('audio')
  const audio = { id: 'audio_1', data: 'UklGRg==', transcript: 'Understood.', expires_at: 1_790_000_600 }
  return {
    content: spoken ? null : format?.startsWith('json') ? '{"ok":true}' : 'Understood.',
    calls: [],
    ...(spoken && { audio }),
    finish: 'stop',
  }
}

/** The tool that the request wants to be called. */
function toolCalledBy(body: Body): Tool | undefined {
  const wish = body.tool_choice as Wish | undefined
  const [first, ...rest] = toolsOf(body)
  if (wish === 'required') return first
  if (typeof wish !== 'object') return undefined
  const { mode, tools } = wish.allowed_tools ?? { mode: 'required', tools: [wish as { function?: { name: string } }] }
  const name = tools[0]?.function?.name ?? wish.custom?.name
  const named = [first, ...rest].find((tool) => tool?.function?.name === name || tool?.custom?.name === name)
  return mode === 'required' ? named : undefined
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
    const { content, calls, call, audio, finish } = choiceOf(body, makeId)
    const more = {
      ...(calls.length > 0 && { tool_calls: calls }),
      ...(call && { function_call: call }),
      ...(audio && { audio }),
    }
    return {
      index,
      message: { role: 'assistant', content, refusal: null, ...more },
      logprobs: logprobs(body),
      finish_reason: finish,
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
      const { content, calls, call, audio, finish } = choiceOf(body, makeId)
      return [
        chunk(index, { role: 'assistant', content: '' }),
        ...(content === null
          ? []
          : [...content.matchAll(/.{1,6}/gs)].map(([piece]) => chunk(index, { content: piece }))),
        ...calls.map((made, at) => chunk(index, { tool_calls: [{ index: at, ...made }] })),
        ...(call ? [chunk(index, { function_call: call })] : []),
        ...(audio ? [chunk(index, { audio })] : []),
        chunk(index, {}, finish),
      ]
    })
    const isAsked = (body.stream_options as { include_usage?: boolean } | undefined)?.include_usage === true
    if (usage === 'always' || (usage === 'asked' && isAsked))
      events.push({ data: { ...first, choices: [], usage: usageOf(body) } })
    return events
  }
