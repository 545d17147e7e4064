import type { Body, Refusal, Rule } from './emulator.ts'

export interface Message {
  role: string
  content?: string | Part[] | null | undefined
  tool_calls?: Call[] | null
  tool_call_id?: string
  [key: string]: unknown
}
export interface Part {
  type: string
  text?: string
  [key: string]: unknown
}
export interface Call {
  id: string
  type: string
  function?: { name: string; arguments: string }
  custom?: { name: string; input: string }
  [key: string]: unknown
}
export interface Tool {
  type: string
  custom?: { name: string; description?: string }
  function?: { name: string; description?: string; parameters?: Record<string, unknown>; strict?: boolean }
}

export const messagesOf = (body: Body) => body.messages as Message[]
export const callsOf = (message: Message): Call[] => message.tool_calls ?? []
export const partsOf = ({ content }: Message): Part[] => (Array.isArray(content) ? content : [])
export const toolsOf = (body: Body) => (body.tools ?? []) as Tool[]
export const has = (body: Body, field: string) => body[field] !== undefined && body[field] !== null

/** Form of `tool_choice`. */
export const choiceOf = ({ tool_choice: choice }: Body): string | null =>
  typeof choice === 'object' && choice !== null
    ? (choice as { type: string }).type
    : ((choice as string | undefined) ?? null)

/** Forms of `tool_choice` that many servers know of. */
export const COMMON_CHOICES = ['auto', 'none', 'required', 'function']

export const isBlank = ({ content }: Message): boolean =>
  typeof content === 'string'
    ? content.trim() === ''
    : (content ?? []).every(({ type, text }) => type === 'text' && (text ?? '').trim() === '')

/** Whether some node of a JSON schema passes a test. */
export function someNode(schema: unknown, test: (node: Record<string, unknown>) => boolean): boolean {
  if (typeof schema !== 'object' || schema === null) return false
  if (Array.isArray(schema)) return schema.some((one) => someNode(one, test))
  const node = schema as Record<string, unknown>
  return (
    test(node) ||
    Object.entries(node).some(([key, value]) => {
      if (['enum', 'const', 'default', 'required', 'examples'].includes(key)) return false
      const isNamed =
        ['properties', '$defs', 'definitions'].includes(key) && typeof value === 'object' && value !== null
      return isNamed ? Object.values(value).some((one) => someNode(one, test)) : someNode(value, test)
    })
  )
}

/** OpenAI's error body, which most of the others use, too. */
export const openaiError = (
  status: number,
  message: string,
  param: string | null = null,
  code: string | null = null,
): Refusal => ({
  status,
  body: { error: { message, type: 'invalid_request_error', param, code } },
})

/** Fields of a request that are not among those known. */
export const unknownFields = (known: readonly string[], source: string, refuse: (field: string) => Refusal): Rule => {
  const names = new Set(known)
  return {
    source,
    check: (body) => {
      const odd = Object.keys(body).find((field) => !names.has(field))
      return odd !== undefined && refuse(odd)
    },
  }
}

/** Fields of messages that are not among those known. */
export const unknownMessageFields = (
  known: readonly string[],
  source: string,
  refuse: (field: string, index: number, role: string) => Refusal,
): Rule => ({
  source,
  check: (body) => {
    for (const [index, message] of messagesOf(body).entries()) {
      const odd = Object.keys(message).find((field) => !known.includes(field))
      if (odd !== undefined) return refuse(odd, index, message.role)
    }
    return null
  },
})

/** Every tool call is answered, every answer has its call: all chat APIs demand it. */
export const answeredCalls = (source: string, refuse: (message: string) => Refusal): Rule => ({
  source,
  check: (body) => {
    let open = new Set<string>()
    for (const message of messagesOf(body)) {
      if (message.role === 'tool') {
        if (!open.delete(message.tool_call_id ?? '')) {
          return refuse("messages with role 'tool' must be a response to a preceding message with 'tool_calls'.")
        }
        continue
      }
      if (open.size > 0)
        return refuse(
          `An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. Missing: ${[...open].join(', ')}`,
        )
      open = new Set(callsOf(message).map(({ id }) => id))
    }
    return open.size > 0 && refuse(`Missing tool messages for ${[...open].join(', ')}`)
  },
})

/** What OpenAI's API documents for chat completions (platform.openai.com/docs/api-reference/chat/create, 2026-11). */
export const OPENAI_FIELDS = [
  'model',
  'messages',
  'stream',
  'stream_options',
  'temperature',
  'top_p',
  'n',
  'max_tokens',
  'max_completion_tokens',
  'stop',
  'presence_penalty',
  'frequency_penalty',
  'logit_bias',
  'logprobs',
  'top_logprobs',
  'seed',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'functions',
  'function_call',
  'response_format',
  'reasoning_effort',
  'verbosity',
  'modalities',
  'audio',
  'prediction',
  'service_tier',
  'store',
  'metadata',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'prompt_cache_options',
  'web_search_options',
  'moderation',
]

/** So many random letters and digits. */
export const letters = (length: number) =>
  Array.from({ length }, () => 'abcdefghijklmnopqrstuvwxyz0123456789'[Math.floor(Math.random() * 36)]).join('')
/** OpenAI's fields but for some. */
export const without = (...fields: string[]) => OPENAI_FIELDS.filter((field) => !fields.includes(field))
/** The first of these roles that some message has. */
export const roleIn = (body: Body, ...roles: string[]) =>
  messagesOf(body).find(({ role }) => roles.includes(role))?.role
/** The first of these types of content parts that is there. */
export const partIn = (body: Body, ...types: string[]) =>
  messagesOf(body)
    .flatMap(partsOf)
    .find(({ type }) => types.includes(type))?.type
/** Whether `tool_choice` has a form that many servers know of. */
export const isCommon = (body: Body) => {
  const form = choiceOf(body)
  return form === null || COMMON_CHOICES.includes(form)
}
export const hasCustom = (body: Body) => toolsOf(body).some(({ type }) => type !== 'function')
