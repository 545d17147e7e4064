import type { Usage } from '../../candidates/usage.ts'
import { isObject } from '../is-object.ts'
import { Output, type OutputOptions } from './output.ts'
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

/** What a completion, or a chunk of one, says of itself. */
export function headOf({ model, created, service_tier: tier }: Record<string, unknown>) {
  return {
    model: typeof model === 'string' ? model : '',
    createdAt: Number.isInteger(created) ? (created as number) : nowS(),
    serviceTier: typeof tier === 'string' ? tier : undefined,
  }
}

export const nowS = () => Math.floor(Date.now() / 1000)
