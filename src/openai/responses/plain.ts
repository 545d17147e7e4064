import type { Usage } from '../../candidates/usage.ts'
import type { Conversion } from '../conversion.ts'
import { parseJson } from '../error.ts'
import { isObject } from '../is-object.ts'
import { logprobsOf, Output, type OutputOptions } from './output.ts'
import { ending, type ResourceHead, type ResponseResource, usageOf } from './resource.ts'

/** A resource in which nothing has been said yet. */
export type NewResource = (head: Omit<ResourceHead, 'id' | 'store'>) => ResponseResource

/**
 * A whole chat completion as a response.
 *
 * @param usage as counted, or estimated
 */
export function responseOf(
  completion: Record<string, unknown>,
  create: NewResource,
  options: OutputOptions,
  usage: Usage,
): ResponseResource {
  const choice: unknown = Array.isArray(completion.choices) ? completion.choices[0] : null
  const { message, logprobs, finish_reason: reason } = isObject(choice) ? choice : {}
  const output = new Output(options)
  output.take(isObject(message) ? message : {}, logprobs)
  const end = ending(output.refused || typeof reason !== 'string' ? 'stop' : reason)
  output.end(end.status === 'incomplete')
  return {
    ...create(headOf(completion)),
    ...end,
    completed_at: end.status === 'completed' ? nowS() : null,
    output: output.items,
    usage: usageOf(usage),
  }
}

/**
 * A large answer, a chat completion or a response, without its logprobs: where they were asked for they are most of it,
 * and what is copied to another thread costs as much again. Those of a chat are told as JSON, in a response's words.
 */
export const withoutLogprobs: Conversion<null, { json: unknown; logprobs: Uint8Array | null }> = {
  module: import.meta.url,
  name: 'withoutLogprobs',
  run(body) {
    const json = parseJson(body)
    const { choices, output } = isObject(json) ? json : {}
    const [choice, ...others] = objectsOf(choices)
    const told = logprobsOf(choice?.logprobs)
    for (const one of choice ? [choice, ...others] : []) delete one.logprobs
    for (const part of objectsOf(output).flatMap(({ content }) => objectsOf(content)))
      if (Array.isArray(part.logprobs)) part.logprobs = []
    return { body, told: { json, logprobs: told.length > 0 ? Buffer.from(JSON.stringify(told)) : null } }
  },
}

const objectsOf = (list: unknown): Record<string, unknown>[] => (Array.isArray(list) ? list.filter(isObject) : [])

/** What a completion, or a chunk of one, says of itself. */
export function headOf({ model, created, service_tier: tier }: Record<string, unknown>) {
  return {
    model: typeof model === 'string' ? model : '',
    createdAt: Number.isInteger(created) ? (created as number) : nowS(),
    serviceTier: typeof tier === 'string' ? tier : undefined,
  }
}

export const nowS = () => Math.floor(Date.now() / 1000)
