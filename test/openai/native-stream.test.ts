import { describe, expect, test } from 'vitest'
import { MessagesObserver } from '../../src/openai/messages/native.ts'
import type { NativeStream } from '../../src/openai/native-stream.ts'
import { ResponsesObserver } from '../../src/openai/responses/native.ts'

const event = (type: string, fields: object = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`

const MESSAGES = [
  event('message_start', { message: { id: 'msg_1', usage: { input_tokens: 3, output_tokens: 1 } } }),
  ': keep-alive\n\n',
  event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'Zwölf Äpfel' } }),
  event('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 4 } }),
  event('message_stop'),
]
const response = { object: 'response', id: 'resp_1', status: 'completed', output: [] }
const RESPONSES = [
  event('response.created', { sequence_number: 0, response }),
  event('response.output_text.delta', { sequence_number: 1, delta: 'Zwölf Äpfel' }),
  event('response.completed', { sequence_number: 2, response }),
]

const FORMATS: [string, () => NativeStream, string[]][] = [
  ['messages', () => new MessagesObserver(), MESSAGES],
  ['responses', () => new ResponsesObserver(), RESPONSES],
]

const read = (observer: NativeStream, pieces: readonly Buffer[]) =>
  Buffer.concat([...pieces.map((piece) => observer.push(piece)), observer.end()].filter((bytes) => bytes !== null))

describe.each(FORMATS)('%s', (_, create, events) => {
  test.each(['\n', '\r\n', '\r'])('split at any byte, lines ended by %j: every byte passes', (lineEnd) => {
    const bytes = Buffer.from(events.join('').replaceAll('\n', lineEnd))
    for (let at = 0; at <= bytes.length; at++) {
      const observer = create()
      const passed = read(observer, [bytes.subarray(0, at), bytes.subarray(at)])
      expect(passed.equals(bytes), `split at ${at}`).toBe(true)
      expect(observer).toMatchObject({ done: true, torn: false, speaks: true, finishReason: 'stop' })
    }
  })

  test('cut at any byte: what has passed ends with a whole event, so that another can follow', () => {
    const bytes = Buffer.from(events.join(''))
    const wholes = events.map((_, count) =>
      events
        .slice(0, count + 1)
        .join('')
        .trimEnd(),
    )
    for (let at = 0; at < bytes.length; at++) {
      const observer = create()
      const passed = read(observer, [bytes.subarray(0, at)]).toString()
      expect(observer.torn).toBe(false)
      expect(passed === '' || wholes.includes(passed.trimEnd()), JSON.stringify(passed.slice(-80))).toBe(true)
      expect(passed).toMatch(/^$|\n\n$/)
    }
  })

  test('an event that lacks only its blank line is whole, and gets one', () => {
    const whole = events.join('')
    for (const cut of [1, 2]) {
      const observer = create()
      expect(
        read(observer, [Buffer.from(whole.slice(0, -cut))])
          .toString()
          .trimEnd(),
      ).toBe(whole.trimEnd())
      expect(observer.done).toBe(true)
    }
  })

  test('half an event that is too large to be held passes, and nothing can follow it', () => {
    const observer = create()
    const half = Buffer.from(`event: x\ndata: {"type":"x","text":"${'y'.repeat(70_000)}`)
    expect(observer.push(Buffer.from(events[0] as string))?.toString()).toBe(events[0])
    expect(observer.push(half)?.equals(half)).toBe(true)
    expect(observer.push(Buffer.from('more'))?.toString()).toBe('more')
    expect(observer.end()).toBeNull()
    expect(observer.torn).toBe(true)
  })

  test('it passes to its end, and what comes after it is held again', () => {
    const observer = create()
    const large = `data: {"type":"x","text":"${'y'.repeat(70_000)}"}\n\n`
    observer.push(Buffer.from(large.slice(0, -3)))
    expect(observer.push(Buffer.from(`${large.slice(-3)}data: {"ty`))?.toString()).toBe(large.slice(-3))
    expect(observer.end()).toBeNull()
    expect(observer.torn).toBe(false)
  })
})
