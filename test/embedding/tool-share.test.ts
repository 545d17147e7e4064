import { describe, expect, it } from 'vitest'
import { toolShare } from '../../src/embedding/tool-share.ts'
import type { ChatBody } from '../../src/openai/chat.ts'

const asked = (of: Partial<ChatBody> = {}): ChatBody => ({
  model: 'auto',
  messages: [{ role: 'user', content: 'Fix the failing test.' }],
  ...of,
})
const tool = (name: string) => ({ type: 'function', function: { name } })
const tools = (count: number) => Array.from({ length: count }, (_, i) => tool(`tool_${i}`))

describe('toolShare', () => {
  it('grows with tools and is 1 from ten on, as in Python', () => {
    const shares = [0, 1, 3, 9, 10, 200].map((count) => toolShare(asked({ tools: tools(count) })))
    // tests/data/test_tool_share.py has the same numbers.
    for (const [i, share] of [0, 0.2890648, 0.5781297, 0.9602526, 1, 1].entries()) {
      expect(shares[i]).toBeCloseTo(share, 6)
    }
  })

  it('counts what tools have answered already, and functions of old clients', () => {
    const messages = [
      { role: 'user', content: 'Fix the failing test.' },
      { role: 'assistant', content: null, tool_calls: [{}] },
      { role: 'tool', content: 'ok', tool_call_id: 'a' },
      { role: 'function', content: 'ok', name: 'b' },
    ]
    expect(toolShare(asked({ messages }))).toBe(toolShare(asked({ tools: tools(2) })))
    expect(toolShare(asked({ functions: [{ name: 'a' }, { name: 'b' }] }))).toBe(toolShare(asked({ messages })))
    expect(toolShare(asked({ messages, tools: tools(8) }))).toBe(1)
  })

  it('does not count tools that may not be called, or what is no list', () => {
    expect(toolShare(asked({ tools: tools(20), tool_choice: 'none' }))).toBe(0)
    expect(toolShare(asked({ tools: null, functions: 'all' }))).toBe(0)
  })
})
