import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { SseObserver } from '../../src/openai/sse-observer.ts'
import fc from '../support/properties.ts'
import { chunkOf, streamEvents, usageChunk } from '../support/upstream.ts'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

function pass(observer: SseObserver, pieces: readonly Buffer[]): Buffer {
  const out: Buffer[] = []
  for (const piece of pieces) {
    const bytes = observer.push(piece)
    if (bytes) out.push(bytes)
  }
  const held = observer.end()
  if (held) out.push(held)
  return Buffer.concat(out)
}

const cut = (bytes: Buffer, ...offsets: number[]) =>
  [0, ...offsets].map((from, index) => bytes.subarray(from, offsets[index] ?? bytes.length))

/** Every kind of line that the standard allows, with text of several bytes a character. */
const rich = (eol: string) =>
  Buffer.from(
    [
      ': keep-alive',
      '',
      `event: message${eol}data: ${JSON.stringify(chunkOf({ role: 'assistant', content: '' }))}`,
      '',
      `data:${JSON.stringify(chunkOf({ content: 'Grüße, 世界 🌍 \\" "usage": {"x":1} "finish_reason":"no"' }))}`,
      '',
      ': another comment',
      `data: {"id":"chatcmpl-1","object":"chat.completion.chunk",`,
      `data: "choices":[{"index":0,"delta":{"content":" two lines"},"finish_reason":null}]}`,
      '',
      `id: 7${eol}retry: 10${eol}data: ${JSON.stringify(chunkOf({}, 'stop'))}`,
      '',
      `data: ${JSON.stringify(usageChunk)}`,
      '',
      'data: [DONE]',
      '',
      '',
    ].join(eol),
  )

describe.each([
  ['LF', '\n'],
  ['CRLF', '\r\n'],
  ['CR', '\r'],
])('events with %s', (_, eol) => {
  const stream = rich(eol)
  const usageEvent = Buffer.from(`data: ${JSON.stringify(usageChunk)}${eol}${eol}`)
  const at = stream.indexOf(usageEvent)
  const withoutUsage = Buffer.concat([stream.subarray(0, at), stream.subarray(at + usageEvent.length)])

  test('sha256(in) = sha256(out), cut in two at every offset', () => {
    for (let offset = 0; offset <= stream.length; offset++) {
      const observer = new SseObserver({ dropUsage: false })
      expect(sha256(pass(observer, cut(stream, offset)))).toBe(sha256(stream))
      expect([observer.finishReason, observer.done, observer.usage?.promptTokens]).toEqual(['stop', true, 11])
    }
  })

  test('without the usage event, cut in two at every offset: the rest is unchanged, and usage is known', () => {
    for (let offset = 0; offset <= stream.length; offset++) {
      const observer = new SseObserver({ dropUsage: true })
      expect(pass(observer, cut(stream, offset)).toString()).toBe(withoutUsage.toString())
      expect([observer.finishReason, observer.done, observer.usage?.completionTokens]).toEqual(['stop', true, 3])
      expect(observer.isComplete(1)).toBe(true)
    }
  })

  test('byte by byte, and in random pieces', () => {
    const bytes = [...stream.keys()].map((index) => stream.subarray(index, index + 1))
    expect(pass(new SseObserver({ dropUsage: true }), bytes).equals(withoutUsage)).toBe(true)
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 40 }),
        fc.boolean(),
        (offsets, dropUsage) => {
          const observer = new SseObserver({ dropUsage })
          const out = pass(observer, cut(stream, ...offsets.sort((a, b) => a - b)))
          return out.equals(dropUsage ? withoutUsage : stream) && observer.usage?.promptTokens === 11
        },
      ),
      { numRuns: 200 },
    )
  })
})

/** Bytes in pieces of these sizes, the rest in one. */
function piecesOf(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  let at = 0
  for (const size of sizes) {
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return [...pieces, bytes.subarray(at)]
}

test.each([true, false])(
  'what an SDK can read passes unchanged, however it is cut; usage is dropped: %s',
  (dropUsage) => {
    const line = fc.string().filter((text) => !/[\r\n]/.test(text))
    const event = fc.oneof(
      line.map((text) => `: ${text}\n`),
      fc
        .string({ unit: 'grapheme' })
        .map((content) => `data: ${JSON.stringify(chunkOf({ role: 'assistant', content }))}\n\n`),
      fc
        .string()
        .map((content) => `event: message\ndata:${JSON.stringify(chunkOf({ role: 'assistant', content }))}\n\n`),
    )
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 12 }),
        fc.constantFrom('\n', '\r\n', '\r'),
        fc.array(fc.nat(40), { maxLength: 30 }),
        (events, ending, sizes) => {
          const bytes = Buffer.from(events.join('').replaceAll('\n', ending))
          return pass(new SseObserver({ dropUsage }), piecesOf(bytes, sizes)).equals(bytes)
        },
      ),
      { numRuns: 300 },
    )
  },
)

/** The stream's events with their ends, comments between them, and lines of JSON that are none, each by itself. */
function eventsIn(bytes: Buffer): string[] {
  const events: string[] = []
  let event = ''
  let hasData = false
  for (const line of bytes.toString('latin1').match(/[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$/g) ?? []) {
    const text = line.replace(/[\r\n]+$/, '')
    const isAlone = (event === '' && text.startsWith(':')) || (!hasData && text === '{}')
    event += line
    hasData ||= /^data(?::|$)/.test(text)
    if (text !== '' && !isAlone) continue
    events.push(event)
    event = ''
    hasData = false
  }
  return event === '' ? events : [...events, event]
}

/** Whether a stream is some of these events in order, and at most two line ends more. */
function isOf(out: string, events: readonly string[]): boolean {
  let reached = new Set([0])
  for (const event of events) {
    const told = [...reached].filter((at) => out.startsWith(event, at)).map((at) => at + event.length)
    // A comment between events is none of them, and stays.
    const mustStay = event.startsWith(':') && /[\r\n]$/.test(event)
    reached = new Set(mustStay ? told : [...reached, ...told])
  }
  return ['', '\n', '\n\n'].some((ends) => out.endsWith(ends) && reached.has(out.length - ends.length))
}

test('of any bytes at all whole events go or stay, and nothing is told but the line ends of the last', () => {
  const words = [
    '\n',
    '\r',
    '\r\n',
    '\n\n',
    'data: ',
    'data:x',
    'event: error',
    'id: 1',
    ': hm',
    '{}',
    '{"a":1}',
    'error',
  ]
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.array(fc.constantFrom(...words), { maxLength: 8 }).map((some) => some.join('')),
  )
  let dropped = 0
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
      const buffers = pieces.map((one) => Buffer.from(one as string))
      const all = Buffer.concat(buffers)
      const out = pass(new SseObserver({ dropUsage: false }), buffers)
      if (out.length < all.length) dropped++
      return isOf(out.toString('latin1'), eventsIn(all))
    }),
    { numRuns: 1_000 },
  )
  expect(dropped).toBeGreaterThan(100)
})

test('a chunk that ends with an event is passed on as the same object: nothing is copied', () => {
  const observer = new SseObserver({ dropUsage: true })
  const event = Buffer.from(`data: ${JSON.stringify(chunkOf({ role: 'assistant', content: 'x' }))}\n\n`)
  expect(observer.push(event)).toBe(event)
})

test('a comment without an event is passed on at once', () => {
  const observer = new SseObserver({ dropUsage: true })
  expect(observer.push(Buffer.from(': keep-alive\n'))?.toString()).toBe(': keep-alive\n')
  expect(observer.events).toBe(0)
})

describe('what is learned', () => {
  const read = (events: readonly unknown[], options = { dropUsage: true }) => {
    const observer = new SseObserver(options)
    for (const event of events) observer.push(Buffer.from(`data: ${JSON.stringify(event)}\n\n`))
    return observer
  }

  test('a role, and that it is over, say nothing; text, a tool call, reasoning and a cut do', () => {
    expect(read([chunkOf({ role: 'assistant', content: '', tool_calls: [] })]).speaks).toBe(false)
    expect(read([chunkOf({ content: 'a' })]).speaks).toBe(true)
    expect(read([chunkOf({ tool_calls: [{ index: 0 }] })]).speaks).toBe(true)
    expect(read([chunkOf({ reasoning_content: 'hm' })]).speaks).toBe(true)
    expect(read([chunkOf({}, 'stop')]).speaks).toBe(false)
    expect(read([chunkOf({}, 'length')]).speaks).toBe(true)
  })

  test('n choices are complete when each has ended', () => {
    const end = (index: number) => ({ choices: [{ index, delta: {}, finish_reason: 'stop' }] })
    expect(read([end(0)]).isComplete(2)).toBe(false)
    expect(read([end(0), end(1)]).isComplete(2)).toBe(true)
  })

  test('text is measured: content, reasoning, arguments; escaped quotes do not end it', () => {
    const observer = read([
      chunkOf({ content: 'four' }),
      chunkOf({ reasoning_content: 'sixsix' }),
      chunkOf({ tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] }),
      chunkOf({ content: 'say "x"' }),
    ])
    expect(observer.outputEvents).toBe(4)
    expect(observer.outputBytes).toBe(4 + 6 + '{\\"a\\":1}'.length + 'say \\"x\\"'.length)
  })

  test('usage beside a choice is read, and its event stays', () => {
    const event = { ...chunkOf({ role: 'assistant' }, 'stop'), usage: { prompt_tokens: 5, completion_tokens: 2 } }
    const bytes = Buffer.from(`data: ${JSON.stringify(event)}\n\n`)
    const observer = new SseObserver({ dropUsage: true })
    expect(observer.push(bytes)).toBe(bytes)
    expect(observer.usage?.promptTokens).toBe(5)
  })

  test('an error event, by its field or by its name', () => {
    expect(read([chunkOf({ content: 'a' }), { error: { message: 'boom' } }]).error).toEqual({ message: 'boom' })
    const named = new SseObserver({ dropUsage: false })
    named.push(Buffer.from('event: error\ndata: {"message":"boom"}\n\n'))
    expect(named.error).toEqual({ message: 'boom' })
    expect(read([chunkOf({ content: 'the word "error" in text' })]).error).toBe(null)
  })

  test('whole stream', () => {
    const observer = read(streamEvents(['a', 'b']))
    expect(observer).toMatchObject({ id: 'chatcmpl-1', finishReason: 'stop', outputEvents: 2, outputBytes: 2 })
  })

  test('an event without end is oversize, and is not kept in memory', () => {
    const observer = new SseObserver({ dropUsage: true })
    const piece = Buffer.alloc(1024 * 1024, 'x')
    observer.push(Buffer.from('data: '))
    for (let i = 0; i < 15; i++) observer.push(piece)
    expect(observer.oversize).toBe(false)
    for (let i = 0; i < 2; i++) observer.push(piece)
    expect(observer.oversize).toBe(true)
  })
})

describe('an id in each event: the answer keeps the first', () => {
  const counts = { usage: { prompt_tokens: 11, completion_tokens: 3 } }
  const citations = ['https://example.com']
  const said = { ...chunkOf({ role: 'assistant', content: 'Hi' }), id: 'a' }
  const ended = { ...chunkOf({}, 'stop'), id: 'b' }
  const data = (event: object) => `data: ${JSON.stringify(event)}\n\n`
  const told = (last: object, dropUsage: boolean, before: readonly object[] = [said, ended]) => {
    const observer = new SseObserver({ dropUsage })
    const stream = Buffer.from(`${[...before, last].map(data).join('')}data: [DONE]\n\n`)
    const out = pass(observer, [stream]).toString()
    const events = out.split('\n\n').flatMap((one) => (/^data: \{/.test(one) ? [JSON.parse(one.slice(6))] : []))
    return { observer, out, events }
  }

  test.each([
    ['no choice', { id: 'c', choices: [], ...counts }],
    ['no list of choices', { id: 'c', ...counts }],
    ['null for choices', { id: 'c', choices: null, ...counts }],
  ])('counts with %s: told with the first id where asked for, taken out where not', (_, event) => {
    const wanted = told(event, false)
    expect(wanted.events).toMatchObject([{ id: 'a' }, { id: 'a' }, { ...event, id: 'a' }])
    const unwanted = told(event, true)
    expect(unwanted.events.map(({ id, usage }) => [id, usage ?? null])).toEqual([
      ['a', null],
      ['a', null],
    ])
    for (const { observer, out } of [wanted, unwanted]) {
      expect(out.endsWith('data: [DONE]\n\n')).toBe(true)
      expect(observer).toMatchObject({ id: 'a', done: true, error: null, finishReason: 'stop' })
      expect(observer.usage).toMatchObject({ promptTokens: 11, completionTokens: 3 })
    }
  })

  test.each([
    ['a ping', { id: 'c' }],
    ['citations', { id: 'c', choices: null, citations }],
    ['counts beside citations', { id: 'c', choices: [], citations, ...counts }],
  ])('%s without a choice stays', (_, event) => {
    for (const dropUsage of [true, false]) expect(told(event, dropUsage).events[2]).toEqual({ ...event, id: 'a' })
  })

  test('where an end waits for the counts, it is told before them, or in their place', () => {
    const calls = [{ index: 0, id: 'call_1', type: 'function', function: { name: 'look', arguments: '' } }]
    const called = [
      { ...chunkOf({ role: 'assistant', tool_calls: calls }), id: 'a' },
      { ...chunkOf({}, 'tool_calls'), id: 'b' },
    ]
    const event = { id: 'c', choices: [], ...counts }
    const ends = (dropUsage: boolean) =>
      told(event, dropUsage, called).events.map(({ id, choices, usage }) => [
        id,
        choices[0]?.finish_reason,
        Boolean(usage),
      ])
    const whole = [
      ['a', null, false],
      ['a', null, false],
      ['a', 'tool_calls', false],
    ]
    expect(ends(true)).toEqual(whole)
    expect(ends(false)).toEqual([...whole, ['a', undefined, true]])
  })
})
