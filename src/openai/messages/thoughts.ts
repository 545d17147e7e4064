import { isObject } from '../is-object.ts'
import type { Block } from './body.ts'

/**
 * Marks a signature as ours: the thoughts of a candidate that does not speak the Messages API, told as `thinking`
 * blocks. They go back to that candidate alone; Anthropic would refuse the signature, and others can't read it.
 */
const MARK = 'persona-router:'

/** One piece of thought: text, or what only the provider can read. */
export interface Thought {
  text?: string
  signature?: string
  data?: string
}

export function sealThought(candidate: string, { text, signature, data }: Thought): Block {
  const seal = MARK + Buffer.from(JSON.stringify({ candidate, signature, data })).toString('base64url')
  return data === undefined
    ? { type: 'thinking', thinking: text ?? '', signature: seal }
    : { type: 'redacted_thinking', data: seal }
}

/** The candidate whose thought a block is, as sealed here, and the thought; null for another block. */
export function openThought(block: Block): { candidate: string; thought: Thought } | null {
  const seal = block.type === 'thinking' ? block.signature : block.type === 'redacted_thinking' ? block.data : undefined
  if (typeof seal !== 'string' || !seal.startsWith(MARK)) return null
  const { candidate, signature, data } = parsed(seal.slice(MARK.length))
  return {
    candidate: String(candidate ?? ''),
    thought: {
      ...(typeof block.thinking === 'string' && { text: block.thinking }),
      ...(typeof signature === 'string' && { signature }),
      ...(typeof data === 'string' && { data }),
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
