/** How Python names what it was given, within a message: FastAPI's lists, as vLLM tells them, and pydantic's lines. */
const GIVEN = /'input': |input_value=/g
/** Behind pydantic's value, which it cuts in the middle. */
const AFTER_VALUE = ', input_type='

/** Opening characters of what can hold words. */
const HOLDS_WORDS = '{[(\'"\\'

/**
 * A provider's words without what they repeat of the request as Python writes it: `'input': {'text': '…'}`. What stands
 * in there are the client's words. Where its end can't be told, the rest goes along. Linear in the length.
 */
export function withoutRepeated(said: string): string {
  let kept = ''
  let from = 0
  GIVEN.lastIndex = 0
  for (let found = GIVEN.exec(said); found; found = GIVEN.exec(said)) {
    const at = GIVEN.lastIndex
    kept += said.slice(from, at)
    from = found[0] === 'input_value=' ? endOfValue(said, at) : endOfLiteral(said, at)
    GIVEN.lastIndex = from
  }
  return kept + said.slice(from)
}

function endOfValue(said: string, start: number): number {
  const end = said.indexOf(AFTER_VALUE, start)
  return end < 0 ? said.length : end
}

/** Behind a dictionary, list, tuple or string of Python's that begins here; its start where it is a mere number. */
function endOfLiteral(said: string, start: number): number {
  if (!HOLDS_WORDS.includes(said[start] ?? ' ')) return start
  let depth = 0
  let quote: string | null = null
  for (let i = start; i < said.length; i++) {
    const char = said[i] as string
    if (char === '\\') {
      // Escaped once more around it: its quotes can not be told from those within.
      if (quote === null) return said.length
      i++
    } else if (quote !== null) {
      if (char === quote) quote = null
    } else if (char === "'" || char === '"') quote = char
    else if ('{[('.includes(char)) depth++
    else if ('}])'.includes(char)) depth--
    if (depth === 0 && quote === null) return i + 1
  }
  return said.length
}
