/** Limits of a text: longer ones keep their first `head` and last `tail` code points, one line feed between. */
export interface MaxChars {
  head: number
  tail: number
}

/** Cuts at code point boundaries, in time that depends on the limit, not on the text. Same as `clip_text` in Python. */
export function clipText(text: string, limit: MaxChars): string {
  if (text.length <= limit.head + limit.tail) return text
  const headEnd = forward(text, limit.head)
  const tailStart = backward(text, limit.tail)
  return headEnd >= tailStart ? text : `${text.slice(0, headEnd)}\n${text.slice(tailStart)}`
}

function forward(text: string, codePoints: number): number {
  if (!SURROGATE.test(text.slice(0, codePoints))) return Math.min(codePoints, text.length)
  let at = 0
  for (let n = 0; n < codePoints && at < text.length; n++) at += isPair(text, at) ? 2 : 1
  return at
}

function backward(text: string, codePoints: number): number {
  if (!SURROGATE.test(text.slice(-codePoints - 1))) return Math.max(0, text.length - codePoints)
  let at = text.length
  for (let n = 0; n < codePoints && at > 0; n++) at -= at > 1 && isPair(text, at - 2) ? 2 : 1
  return at
}

/** Most texts have none, and V8 knows that of a text in Latin-1 without looking. */
const SURROGATE = /[\ud800-\udfff]/

/** A high surrogate at `at`, and its low one after it. */
function isPair(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00
}
