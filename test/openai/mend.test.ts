import { describe, expect, test } from 'vitest'
import { completionOfStream } from '../../src/openai/convert-stream.ts'
import { isPlainlyTold, Mend } from '../../src/openai/mend.ts'
import { SseObserver } from '../../src/openai/sse-observer.ts'
import { chunkOf, usageChunk } from '../support/upstream.ts'

interface Choice {
  index: number
  delta: { content?: string; tool_calls?: { index: number; function: { arguments: string } }[] }
  finish_reason: string | null
}

const DONE = 'data: [DONE]\n\n'
const frames = (...events: object[]) => events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')
const begun = (args: string) => ({
  role: 'assistant',
  tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'f', arguments: args } }],
})
const goesOn = (args: string) => ({ tool_calls: [{ index: 0, function: { arguments: args } }] })

/** What an SDK puts together of a stream, whose ends must come last and once. */
function read(stream: string, observer = new SseObserver({ dropUsage: true, tools: true })) {
  const out = [observer.push(Buffer.from(stream)), observer.end(), observer.end()]
  const events = Buffer.concat(out.filter((bytes) => bytes !== null))
    .toString()
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => event.slice('data: '.length))
  const choices = events.flatMap((data): Choice[] => (data === '[DONE]' ? [] : JSON.parse(data).choices))
  const ends = choices.map(({ finish_reason: end }) => end ?? null)
  return {
    args: choices
      .flatMap(({ delta }) => delta.tool_calls ?? [])
      .map((call) => call.function.arguments)
      .join(''),
    text: choices.map(({ delta }) => delta.content ?? '').join(''),
    ends: ends.filter((end) => end !== null),
    isEndLast: ends.length > 0 && ends.at(-1) !== null,
    last: events.at(-1),
    observer,
  }
}

const QUOTED = JSON.stringify('{"a":"\\"\\\\"}')

describe('arguments that are JSON in JSON', () => {
  test('are told when they end, wherever they are cut', () => {
    for (let size = 1; size <= QUOTED.length; size++) {
      const pieces = QUOTED.match(new RegExp(`.{1,${size}}`, 'g')) ?? []
      const stream = frames(
        chunkOf(begun('')),
        ...pieces.map((piece) => chunkOf(goesOn(piece))),
        chunkOf({}, 'tool_calls'),
      )
      expect(read(stream + DONE)).toMatchObject({ args: '{"a":"\\"\\\\"}', ends: ['tool_calls'], isEndLast: true })
    }
  })

  test.each([
    ['"{}" and more', '{} and more'],
    ['"{}"}', '{}}'],
    ['"a" "b"', '"a" "b"'],
    ['"a"', '"a"'],
    ['"', '"'],
  ])('are told as they came where they are none, but for an object that is whole: %s', (args, told) => {
    const stream = frames(chunkOf(begun('')), ...[...args].map((piece) => chunkOf(goesOn(piece))), chunkOf({}, 'stop'))
    expect(read(stream + DONE).args).toBe(told)
  })

  test.each(['length', 'content_filter', 'error', 'tool_calls', null])(
    'are told as they came where the end is %s',
    (end) => {
      const cut = frames(chunkOf(begun('"{\\"a\\":')), ...(end === null ? [] : [chunkOf({}, end)]))
      const ends = end === null || end === 'error' ? [] : [end]
      for (const stream of [cut, cut + DONE, cut + frames(usageChunk) + DONE]) {
        if (end === 'error') expect(read(stream).observer.error).not.toBeNull()
        else expect(read(stream)).toMatchObject({ args: '"{\\"a\\":', ends })
      }
    },
  )

  test('of which more waits than any call holds pass as they come', () => {
    const piece = 'x'.repeat(64 * 1024)
    const observer = new SseObserver({ dropUsage: true, tools: true })
    observer.push(Buffer.from(frames(chunkOf(begun('"')))))
    const passed = Array.from({ length: 20 }, () => observer.push(Buffer.from(frames(chunkOf(goesOn(piece))))))
    const told = passed.map(
      (bytes) => JSON.parse(String(bytes).slice(6)).choices[0].delta.tool_calls[0].function.arguments,
    )
    expect(told.slice(0, 15).join('')).toBe('')
    expect(told.join('')).toBe(`"${piece.repeat(20)}`)
  })

  test('cost what they hold, however small their pieces', () => {
    let parsed = 0
    const { parse } = JSON
    JSON.parse = (text: string) => {
      parsed += text.length
      return parse(text)
    }
    try {
      const mend = new Mend({ tools: true })
      mend.mended(chunkOf(begun('"')))
      for (let i = 0; i < 1_000; i++) mend.mended(chunkOf(goesOn('\\"a\\": 1,')))
    } finally {
      JSON.parse = parse
    }
    expect(parsed).toBeLessThan(20_000)
  })
})

describe('half a character', () => {
  test.each(['', DONE])('is told as one that is unknown where nothing more comes, before "%s"', (ending) => {
    const text = frames(chunkOf({ role: 'assistant', content: 'x\ud83d' }))
    expect(read(text + ending).text).toBe('x\ufffd')
    expect(read(frames(chunkOf(begun('{"a":"\ud83d'))) + ending).args).toBe('{"a":"\ufffd')
  })
})

describe('calls without arguments', () => {
  const bare = chunkOf(begun(''))
  test.each<[string, string, string[]?]>([
    ['at [DONE]', frames(bare, chunkOf({}, 'tool_calls')) + DONE],
    ['at [DONE] without an end', frames(bare) + DONE, []],
    ['where the bytes end', frames(bare, chunkOf({}, 'stop'))],
    ['with their end, before usage', frames(bare, chunkOf({}, 'tool_calls'), usageChunk) + DONE],
    ['with an end in each chunk', frames(chunkOf(begun(''), 'tool_calls'), chunkOf({}, 'tool_calls')) + DONE],
  ])('have none, told %s', (_, stream, ends = ['tool_calls']) => {
    for (const dropUsage of [true, false]) {
      const said = read(stream, new SseObserver({ dropUsage, tools: true }))
      expect(said).toMatchObject({ args: '{}', ends })
      expect(said.isEndLast).toBe(ends.length > 0)
      expect([said.observer.isComplete(1), said.observer.finishReason]).toEqual([true, ends[0] ?? null])
      expect(said.last === '[DONE]').toBe(stream.endsWith(DONE))
    }
  })

  test('are not told where arguments come behind an end, which some servers put into each chunk', () => {
    const stream = frames(
      chunkOf(begun(''), 'tool_calls'),
      chunkOf(goesOn('{"a"'), 'tool_calls'),
      chunkOf(goesOn(':1}'), 'tool_calls'),
    )
    expect(read(stream + DONE)).toMatchObject({ args: '{"a":1}', isEndLast: true })
    expect(completionOfStream(Buffer.from(stream + DONE))).toMatchObject({
      completion: { choices: [{ message: { tool_calls: [{ function: { arguments: '{"a":1}' } }] } }] },
    })
  })

  test.each(['length', 'content_filter'])('are cut off where the end is %s', (end) => {
    expect(read(frames(bare, chunkOf({}, end)) + DONE)).toMatchObject({ args: '', ends: [end] })
  })

  test('are cut off where the stream is', () => {
    const said = read(frames(bare))
    expect([said.args, said.observer.isComplete(1)]).toEqual(['', false])
  })

  test.each(['tool_calls', 'stop', null])('have none in a stream that is put together, whose end is %s', (end) => {
    const stream = frames(bare, ...(end === null ? [] : [chunkOf({}, end)]))
    const choices = [
      {
        message: { tool_calls: [{ id: 'call_1', function: { arguments: '{}' } }] },
        finish_reason: end ? 'tool_calls' : 'stop',
      },
    ]
    expect(completionOfStream(Buffer.from(stream + DONE))).toMatchObject({ completion: { choices } })
    if (end) expect(completionOfStream(Buffer.from(stream))).toMatchObject({ completion: { choices } })
  })
})

test('choices without a place are told apart by their order', () => {
  const call = { function: { name: 'f', arguments: '{}' } }
  const choices = [
    { message: { role: 'assistant', tool_calls: [call] }, finish_reason: 'stop' },
    { message: { role: 'assistant', content: 'No.' }, finish_reason: 'stop' },
  ]
  const mended = new Mend({ tools: true }).mended({ choices })
  expect(mended?.choices).toMatchObject([{ finish_reason: 'tool_calls' }, { finish_reason: 'stop' }])
  const legacy = choices.map(() => ({
    message: { role: 'assistant', function_call: call.function },
    finish_reason: 'stop',
  }))
  const both = new Mend({ tools: true }).mended({ choices: legacy })?.choices as {
    message: { tool_calls: { id: string }[] }
  }[]
  expect(new Set(both.map(({ message }) => message.tool_calls[0]?.id)).size).toBe(2)
  const ends = frames({ choices: choices.map(({ finish_reason }) => ({ delta: { content: 'x' }, finish_reason })) })
  expect(read(ends).observer.isComplete(2)).toBe(true)
})

describe('several choices where one was asked for, none of which says which it is', () => {
  const mended = (...messages: object[]) => {
    const choices = messages.map((message) => ({ message: { role: 'assistant', ...message }, finish_reason: 'stop' }))
    const answer = { id: 'a', choices }
    const own = new Mend({ isSingle: true }).mended(answer) ?? answer
    return (own.choices as { message: object }[]).map(({ message }) => message)
  }
  const { tool_calls } = begun('{}')

  test('text in one and calls in the next are one', () => {
    const [one, ...more] = mended(
      { content: 'A', reasoning_content: 'hm' },
      { content: null, reasoning_content: '', tool_calls },
    )
    expect(one).toMatchObject({ content: 'A', reasoning_content: 'hm', tool_calls: [{ id: 'call_1' }] })
    expect(more).toEqual([])
  })

  test.each<[string, object, object]>([
    ['texts', { content: 'A' }, { content: 'B' }],
    ['the same text', { content: 'A' }, { content: 'A' }],
    ['thoughts', { reasoning_content: 'A' }, { content: 'B', reasoning_content: 'A' }],
  ])('%s are answers of their own', (_, ...messages) => {
    expect(mended(...messages)).toMatchObject(messages)
  })
})

describe('names of calls', () => {
  const named = (names: readonly string[], ...pieces: { id?: string; name?: string; arguments?: string }[]) => {
    const mend = new Mend({ tools: true, toolNames: new Set(names) })
    const chunks = pieces.map(({ id, ...called }) =>
      chunkOf({ tool_calls: [{ index: 0, ...(id && { id }), function: called }] }),
    )
    const told = [...chunks, chunkOf({}, 'tool_calls')].map((chunk) => mend.mended(chunk) ?? chunk)
    const calls = told.map((chunk) => {
      const [choice] = chunk.choices as {
        delta: { tool_calls?: { function: { name?: string; arguments?: string } }[] }
      }[]
      return choice?.delta.tool_calls?.map((call) => call.function) ?? []
    })
    const all = calls.flat()
    return {
      /** How many characters of arguments were told with each piece. */
      chars: calls.map((some) => some.map(({ arguments: args }) => args?.length ?? 0).reduce((a, b) => a + b, 0)),
      name: all.map(({ name }) => name ?? '').join(''),
      args: all.map(({ arguments: args }) => args ?? '').join(''),
    }
  }
  const id = 'call_1'

  test('in equal pieces, where a tool is called so', () => {
    expect(named(['gogo'], { id, name: 'go' }, { name: 'go' }, { arguments: '{}' })).toMatchObject({
      name: 'gogo',
      args: '{}',
    })
  })

  test('said again before they are whole', () => {
    const pieces = [{ id, name: 'lo' }, { name: 'lo' }, { name: 'ok' }, { arguments: '{}' }]
    expect(named(['look'], ...pieces)).toMatchObject({ name: 'look', args: '{}' })
  })

  test('arguments wait for one, but not without bound', () => {
    const piece = { arguments: 'x'.repeat(20 * 1024) }
    const { chars, name, args } = named(['look'], { id, ...piece }, piece, piece, piece, piece, { name: 'look' })
    const each = piece.arguments.length
    expect(chars).toEqual([0, 0, 0, 4 * each, each, 0, 0])
    expect([name, args.length]).toEqual(['look', 5 * each])
    const short = named(['look'], { id, arguments: '{"a"' }, { arguments: ':1}' }, { name: 'look' })
    expect(short).toMatchObject({ name: 'look', args: '{"a":1}', chars: [0, 0, 7, 0] })
  })
})

describe('an answer that is plainly told', () => {
  const message = { role: 'assistant', content: 'Yes.' }
  const asked = [{}, { isSingle: true, tools: true, isForced: true }, { thoughtsAs: 'reasoning' as const }]
  const answers: [plain: boolean, choices: unknown][] = [
    [true, [{ index: 0, message, finish_reason: 'stop' }]],
    [true, [{ index: 0, message, finish_reason: 'length', logprobs: null }]],
    [true, [{ message: { ...message, content: '' }, finish_reason: 'stop' }]],
    [
      true,
      [{ message: { ...message, content: 'Yes \u{1f600}', refusal: null, tool_calls: null }, finish_reason: 'stop' }],
    ],
    [false, [{ message: { ...message, content: 'Yes \ud83d' }, finish_reason: 'stop' }]],
    [false, [{ message: { ...message, function_call: { name: 'f', arguments: '' } }, finish_reason: 'stop' }]],
    [false, [{ message: { ...message, tool_calls: [] }, finish_reason: 'stop' }]],
    [false, [{ message: { ...message, reasoning_content: 'Hm.' }, finish_reason: 'stop' }]],
    [false, [{ message: { content: 'Yes.' }, finish_reason: 'stop' }]],
    [false, [{ message: { ...message, role: '' }, finish_reason: 'stop' }]],
    [false, [{ message: { ...message, content: [{ type: 'text', text: 'Yes.' }] }, finish_reason: 'stop' }]],
    [false, [{ message: { ...message, content: null }, finish_reason: 'stop' }]],
    [false, [{ message, finish_reason: 'STOP' }]],
    [false, [{ delta: message, finish_reason: 'stop' }]],
    [
      false,
      [
        { message, finish_reason: 'stop' },
        { message, finish_reason: 'stop' },
      ],
    ],
    [false, ['Yes.']],
    [false, []],
    [false, undefined],
  ]

  test.each(answers)('%s: %j', (plain, choices) => {
    expect(isPlainlyTold({ choices })).toBe(plain)
    if (plain) for (const each of asked) expect(new Mend(each).mended({ choices })).toBeNull()
  })
})
