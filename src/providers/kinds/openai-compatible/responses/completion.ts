import type { Conversion } from '../../../../openai/conversion.ts'
import { parseJson } from '../../../../openai/error.ts'
import { isObject } from '../../../../openai/is-object.ts'
import { FORMAT } from './items.ts'

type Fields = Record<string, unknown>

const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.filter(isObject) : [])

/** The same from bytes to bytes; or the error that it tells, or why it is no whole response. @see completionOf */
export const responseAsChat: Conversion<{ created: number }, { error?: unknown; isNot?: string }> = {
  module: import.meta.url,
  name: 'responseAsChat',
  run(body, { created }) {
    const json = parseJson(body)
    if (!isObject(json)) return { body, told: { isNot: 'a response' } }
    if (isObject(json.error)) return { body, told: { error: json.error } }
    const isEnded = json.status === undefined || json.status === 'completed' || json.status === 'incomplete'
    if (!Array.isArray(json.output) || !isEnded) return { body, told: { isNot: 'a whole response' } }
    return { body: Buffer.from(JSON.stringify(completionOf(json, created))), told: {} }
  },
}

/** A response as a chat completion. */
function completionOf(response: Fields, created: number): Fields {
  const output = list(response.output)
  const parts = output.filter(({ type }) => type === 'message').flatMap(({ content }) => list(content))
  const said = parts.filter(({ type }) => type === 'output_text')
  const refused = parts.filter(({ type }) => type === 'refusal')
  const annotations = said.flatMap(({ annotations: all }) => list(all)).map(annotationOf)
  const logprobs = said.flatMap(({ logprobs: all }) => list(all))
  const thoughts = output.filter(({ type }) => type === 'reasoning')
  const words = thoughts.map(wordsOf).filter((text) => text !== '')
  const details = thoughts.map(detailOf).filter((one) => one !== null)
  const calls = output.map(callOf).filter((one) => one !== null)
  const text = said.map((part) => String(part.text ?? '')).join('')
  return {
    ...headOf(response, created),
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: said.length > 0 ? text : null,
          refusal: refused.length > 0 ? refused.map(({ refusal }) => String(refusal ?? '')).join('') : null,
          ...(annotations.length > 0 && { annotations }),
          ...(words.length > 0 && { reasoning_content: words.join('\n\n') }),
          ...(details.length > 0 && { reasoning_details: details.map((detail, index) => ({ ...detail, index })) }),
          ...(calls.length > 0 && { tool_calls: calls }),
        },
        logprobs: logprobs.length > 0 ? { content: logprobs, refusal: null } : null,
        finish_reason: finishReasonOf(response, calls.length > 0),
      },
    ],
    ...(isObject(response.usage) && { usage: usageOf(response.usage) }),
  }
}

/** What every chunk says, too. */
export const headOf = ({ id, created_at: at, model, service_tier: tier }: Fields, created: number): Fields => ({
  id,
  created: typeof at === 'number' ? Math.floor(at) : created,
  model,
  ...(typeof tier === 'string' && { service_tier: tier }),
})

export function finishReasonOf({ status, incomplete_details: details }: Fields, hasCalls: boolean): string {
  if (status === 'incomplete')
    return isObject(details) && details.reason === 'content_filter' ? 'content_filter' : 'length'
  return hasCalls ? 'tool_calls' : 'stop'
}

export function usageOf(usage: Fields): Fields {
  const { input_tokens: input = 0, output_tokens: output = 0, total_tokens: total } = usage
  const { input_tokens_details: ofInput, output_tokens_details: ofOutput } = usage
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: total ?? Number(input) + Number(output),
    ...(isObject(ofInput) && { prompt_tokens_details: ofInput }),
    ...(isObject(ofOutput) && { completion_tokens_details: ofOutput }),
  }
}

/** A summary of thoughts, or (open models') the thoughts themselves. */
export const wordsOf = ({ summary, content }: Fields): string =>
  [...list(summary), ...list(content)].map(({ text }) => String(text ?? '')).join('\n\n')

/** Thoughts as only their maker reads them, in the field that clients send back. */
export const detailOf = ({ id, encrypted_content: data }: Fields): Fields | null =>
  typeof data === 'string' && data !== '' ? { type: 'reasoning.encrypted', id, data, format: FORMAT } : null

export function callOf({ type, call_id: id, name, arguments: args, input }: Fields): Fields | null {
  if (type === 'function_call') return { id, type: 'function', function: { name, arguments: textOf(args) || '{}' } }
  return type === 'custom_tool_call' ? { id, type: 'custom', custom: { name, input: textOf(input) } } : null
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : isObject(value) ? JSON.stringify(value) : ''

/** Flat there, nested here. */
export const annotationOf = ({ type, ...rest }: Fields): Fields =>
  type === 'url_citation' ? { type, url_citation: rest } : { type, ...rest }
