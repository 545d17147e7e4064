/**
 * JSON without halves of characters (lone surrogates), which stand in it as escapes that not every reader takes: one in
 * a list, and Redis' reader refuses the whole. As UTF-8 has them: U+FFFD.
 */
export function wellFormedJson(value: unknown): string {
  const json = JSON.stringify(value)
  if (!json.includes('\\ud')) return json
  return JSON.stringify(value, (_, one) => (typeof one === 'string' ? one.toWellFormed() : one))
}
