import { createParser } from 'eventsource-parser'
import { parseJson } from '../error.ts'
import { isObject } from '../is-object.ts'

/** The text of a response, from the bytes that the client got; '' where it has none. */
export function responseText(body: Buffer, stream: boolean): string {
  if (!stream) return outputText(parseJson(body))
  let text = ''
  const parser = createParser({
    onEvent({ event, data }) {
      if (event !== 'response.completed' && event !== 'response.incomplete') return
      const json = parseJson(Buffer.from(data))
      text = outputText(isObject(json) ? json.response : null)
    },
  })
  parser.feed(body.toString('utf8'))
  return text
}

function outputText(response: unknown): string {
  const output: unknown[] = isObject(response) && Array.isArray(response.output) ? response.output : []
  return output
    .flatMap((item) => (isObject(item) && Array.isArray(item.content) ? (item.content as unknown[]) : []))
    .map((part) => (isObject(part) && part.type === 'output_text' && typeof part.text === 'string' ? part.text : ''))
    .join('')
}
