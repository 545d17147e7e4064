const BACKSLASH = 0x5c

/** Where the JSON string that begins at `start` ends: its closing quote. */
export function stringEnd(data: string, start: number): number {
  let end = data.indexOf('"', start)
  while (end > start && isEscaped(data, end)) end = data.indexOf('"', end + 1)
  return end < 0 ? data.length : end
}

function isEscaped(data: string, quote: number): boolean {
  let backslashes = 0
  while (data.charCodeAt(quote - 1 - backslashes) === BACKSLASH) backslashes++
  return backslashes % 2 === 1
}
