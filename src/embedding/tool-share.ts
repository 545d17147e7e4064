import type { ChatBody } from '../openai/chat.ts'

/** Tools and results from which on a request is agents' work as far as these tell. */
const MANY = 10

/**
 * How much a request looks like agents' work, 0 to 1, by the tools that it offers and the results of tools that are in
 * it already; `router_model/data/tools.py` counts the same. 0 for a question that brings none.
 */
export function toolShare({ tools, functions, tool_choice, messages }: ChatBody): number {
  let many = tool_choice === 'none' ? 0 : lengthOf(tools) + lengthOf(functions)
  for (const { role } of messages) if (role === 'tool' || role === 'function') many++
  return many === 0 ? 0 : Math.min(1, Math.log1p(many) / Math.log1p(MANY))
}

const lengthOf = (list: unknown) => (Array.isArray(list) ? list.length : 0)
