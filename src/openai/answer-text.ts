import { createParser } from 'eventsource-parser'
import { parseJson } from './error.ts'
import { isObject } from './is-object.ts'

/** The text of an answer's first choice, from the bytes that the client got; '' where it has none. */
export function answerText(body: Buffer, stream: boolean): string {
  if (!stream) return textOf(parseJson(body), 'message')
  let text = ''
  const parser = createParser({
    onEvent({ data }) {
      if (data !== '[DONE]') text += textOf(parseJson(Buffer.from(data)), 'delta')
    },
  })
  parser.feed(body.toString('utf8'))
  return text
}

function textOf(json: unknown, field: 'message' | 'delta'): string {
  const choices = isObject(json) && Array.isArray(json.choices) ? json.choices : []
  const first = choices.find((choice) => isObject(choice) && (choice.index ?? 0) === 0)
  const message = isObject(first) ? first[field] : null
  return isObject(message) && typeof message.content === 'string' ? message.content : ''
}
