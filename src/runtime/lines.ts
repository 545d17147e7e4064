import { StringDecoder } from 'node:string_decoder'

/**
 * Lines of UTF-8 that end at a line feed, or a carriage return and one, and nowhere else. `node:readline` also ends
 * them at U+2028 and U+2029, which stand in JSON as they are: whatever a client writes may hold them.
 */
export async function* linesOf(input: AsyncIterable<Uint8Array | string>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8')
  let pieces: string[] = []
  for await (const chunk of input) {
    const text = typeof chunk === 'string' ? chunk : decoder.write(chunk)
    let start = 0
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      pieces.push(text.slice(start, end))
      yield lineOf(pieces)
      pieces = []
      start = end + 1
    }
    if (start < text.length) pieces.push(text.slice(start))
  }
  pieces.push(decoder.end())
  const last = lineOf(pieces)
  if (last !== '') yield last
}

function lineOf(pieces: readonly string[]): string {
  const line = pieces.join('')
  return line.endsWith('\r') ? line.slice(0, -1) : line
}
