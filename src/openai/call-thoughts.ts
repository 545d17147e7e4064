/** Fields of a tool call that every server has. */
const STANDARD = new Set(['id', 'type', 'function', 'index', 'custom'])

/**
 * Thoughts that a model ties to a call (Gemini: `extra_content`): without them it can't go on after the tool's result.
 * Null where there are none.
 */
export function callThoughtsOf(call: Record<string, unknown>): Record<string, unknown> | null {
  const own = Object.entries(call).filter(
    ([field, value]) => !STANDARD.has(field) && typeof value === 'object' && value !== null,
  )
  return own.length > 0 ? Object.fromEntries(own) : null
}
