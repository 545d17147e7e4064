import { isObject } from '../is-object.ts'
import type { Block } from './body.ts'

/**
 * Marks a signature as ours: the thoughts of a candidate that does not speak the Messages API, told as `thinking`
 * blocks. They go back to that candidate alone; Anthropic would refuse the signature, and others can't read it.
 */
const MARK = 'persona-router:'

/** One piece of thought: text, what only the provider can read, or what belongs to a tool call. */
export interface Thought {
  text?: string
  signature?: string
  data?: string
  /** Its provider's name of it, and whose thoughts look so: without them it does not take its own thoughts back. */
  id?: string
  format?: string
  isSummary?: boolean
  call?: { id: string; fields: Record<string, unknown> }
}

export function sealThought(candidate: string, thought: Thought): Block {
  const { text, ...sealed } = thought
  const { data, call } = thought
  const seal = MARK + Buffer.from(JSON.stringify({ candidate, ...sealed })).toString('base64url')
  return data === undefined && call === undefined
    ? { type: 'thinking', thinking: text ?? '', signature: seal }
    : { type: 'redacted_thinking', data: seal }
}

/** The candidate whose thought a block is, as sealed here, and the thought; null for another block. */
export function openThought(block: Block): { candidate: string; thought: Thought } | null {
  const seal = block.type === 'thinking' ? block.signature : block.type === 'redacted_thinking' ? block.data : undefined
  if (typeof seal !== 'string' || !seal.startsWith(MARK)) return null
  const { candidate, signature, data, id, format, isSummary, call } = parsed(seal.slice(MARK.length))
  return {
    candidate: String(candidate ?? ''),
    thought: {
      ...(typeof block.thinking === 'string' && { text: block.thinking }),
      ...(typeof signature === 'string' && { signature }),
      ...(typeof data === 'string' && { data }),
      ...(typeof id === 'string' && { id }),
      ...(typeof format === 'string' && { format }),
      ...(isSummary === true && { isSummary }),
      ...(isObject(call) && isObject(call.fields) && { call: { id: String(call.id), fields: call.fields } }),
    },
  }
}

export const isThought = ({ type }: Block): boolean => type === 'thinking' || type === 'redacted_thinking'

function parsed(base64: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(Buffer.from(base64, 'base64url').toString('utf8'))
    return isObject(json) ? json : {}
  } catch {
    return {}
  }
}
