import { describe, expect, test } from 'vitest'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { readLargeBy } from '../../../src/openai/parse-thread.ts'
import { nativeRequest } from '../../../src/openai/responses/native.ts'
import { factsOfText, factsOfTextAnswer } from '../../../src/openai/text-completion.ts'
import { UpstreamError } from '../../../src/providers/provider.ts'
import type { AnswerHead, Forwarded } from '../../../src/providers/relay/answer.ts'
import { readAnswer } from '../../../src/providers/relay/read-answer.ts'
import { candidate } from '../../support/relay-harness.ts'
import { chunkOf, completionBody, usageChunk } from '../../support/upstream.ts'

const USER = { role: 'user', content: 'Hi' }
const data = (event: object) => Buffer.from(`data: ${JSON.stringify(event)}\n\n`)
const DONE = Buffer.from('data: [DONE]\n\n')
const role = chunkOf({ role: 'assistant', content: '' })
const nothing = chunkOf({ role: 'assistant', content: '' }, 'stop')

const headOf = (body: object): AnswerHead => ({
  candidate: candidate('c', 'p'),
  request: parseChat(Buffer.from(JSON.stringify({ model: 'auto', messages: [USER], ...body }))),
  status: 200,
  headers: {},
  attempts: [],
  upstreamMs: 0,
})

/** A stream of these events, read as far as it must be before anything goes on; and what it is in whole. */
async function readStream(source: AsyncIterable<Uint8Array>, body: object = {}) {
  const reasons: UpstreamError[] = []
  const control = { tenant: 'a', abort: (reason: UpstreamError) => reasons.push(reason), onBytes() {}, release() {} }
  const head = headOf({ stream: true, ...body })
  const read = await readAnswer(head, source, { ...control, quietMs: null, endingMs: 20 })
  if (!('answer' in read) || !read.answer.stream) throw new Error(JSON.stringify(read))
  const { answer } = read
  const pieces = [...answer.head]
  for (let next = await answer.rest.next(); !next.done; next = await answer.rest.next())
    pieces.push(Buffer.from(next.value))
  return { answer, text: Buffer.concat(pieces).toString(), reasons }
}

async function* streaming(...events: Uint8Array[]) {
  yield* events
}

describe('an end with each event', () => {
  test('what is said behind the first is the answer', async () => {
    const said = data(chunkOf({ content: 'Hello' }, 'stop'))
    const { answer, text } = await readStream(streaming(data(nothing), data(nothing), said, DONE))
    expect(answer.isEmpty).toBeFalsy()
    expect(answer.observer.speaks).toBe(true)
    expect(text).toContain('Hello')
  })

  test('counts do not tell that nothing more comes', async () => {
    const counted = { ...nothing, usage: usageChunk.usage }
    const said = data({ ...chunkOf({ content: 'Hello' }, 'stop'), usage: usageChunk.usage })
    expect((await readStream(streaming(data(counted), said, DONE))).answer.isEmpty).toBeFalsy()
  })
})

describe('an end, and nothing said', () => {
  test('up to the goodbye, and without one', async () => {
    expect((await readStream(streaming(data(role), data(nothing), DONE))).answer.isEmpty).toBe(true)
    expect((await readStream(streaming(data(nothing)))).answer.isEmpty).toBe(true)
  })

  test('and it stays open: it is let go of soon, whatever signs of life come', async () => {
    async function* silent() {
      yield data(nothing)
      await new Promise(() => {})
    }
    async function* alive() {
      yield data(nothing)
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 1))
        yield Buffer.from(': alive\n\n')
      }
    }
    for (const source of [silent(), alive()]) {
      const { answer, text, reasons } = await readStream(source)
      expect(answer.isEmpty).toBe(true)
      expect(text).toContain('"finish_reason":"stop"')
      expect(reasons).toMatchObject([{ fault: 'aborted' }])
    }
  })

  test('and it breaks: nothing is missing', async () => {
    async function* broken() {
      yield data(nothing)
      throw new UpstreamError('reset', 'gone')
    }
    expect((await readStream(broken())).answer.isEmpty).toBe(true)
  })

  test('a client that left is no end', async () => {
    async function* left() {
      yield data(nothing)
      throw new UpstreamError('aborted', 'the client left')
    }
    await expect(readStream(left())).rejects.toMatchObject({ fault: 'aborted' })
  })

  test('where an answer may end at once it goes on at once', async () => {
    const { answer } = await readStream(streaming(data(nothing), DONE), { stop: ['.'] })
    expect([answer.isEmpty, answer.head.length]).toEqual([false, 1])
  })
})

describe('whether nothing is an answer', () => {
  const call = { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } }
  const called = { role: 'assistant', content: null, tool_calls: [call] }
  const result = { role: 'tool', tool_call_id: 'call_1', content: 'done' }
  const legacy = [
    { role: 'assistant', content: null, function_call: { name: 'look', arguments: '{}' } },
    { role: 'function', name: 'look', content: 'done' },
  ]

  const isEmpty = async (messages: object[], message: object = { content: null }): Promise<[boolean, boolean]> => {
    const choice = { index: 0, message: { role: 'assistant', ...message }, finish_reason: 'stop' }
    const body = streaming(Buffer.from(JSON.stringify(completionBody('', { choices: [choice] }))))
    const control = { tenant: 'a', abort() {}, onBytes() {}, release() {}, quietMs: null, endingMs: 5_000 }
    const plain = (await readAnswer(headOf({ messages }), body, control)) as { answer: Forwarded }
    const events = streaming(data(chunkOf({ role: 'assistant', ...message })), data(chunkOf({}, 'stop')), DONE)
    const streamed = await readStream(events, { messages })
    return [plain.answer.isEmpty === true, streamed.answer.isEmpty === true]
  }

  test.each([
    ['a question', [USER], true],
    ['a result', [USER, called, result], false],
    ['a result and words beside it', [USER, called, result, { role: 'user', content: 'Go on' }], false],
    ['a result in the form of before', [USER, ...legacy], false],
    ['a question behind an answered result', [USER, called, result, { role: 'assistant', content: 'So' }, USER], true],
  ])('behind %s', async (_, messages, nothingIsNone) => {
    expect(await isEmpty(messages)).toEqual([nothingIsNone, nothingIsNone])
  })

  test.each([
    ['a line end', { content: '\n' }, false],
    ['an empty list', { content: '', annotations: [] }, true],
    ['fields of nothing', { content: null, audio: null, function_call: { name: '', arguments: '' } }, true],
    ['a refusal', { content: null, refusal: 'No' }, false],
  ])('%s is the same in a stream and in whole', async (_, message, nothingIsNone) => {
    expect(await isEmpty([USER], message)).toEqual([nothingIsNone, nothingIsNone])
  })
})

describe('an answer that tells an error, in a format that is passed on as it is', () => {
  const responses = nativeRequest(Buffer.from('{}'), new Map())
  const text = {
    ...responses,
    api: 'completions' as const,
    read: factsOfText,
    readLarge: readLargeBy(factsOfTextAnswer),
  }
  const failed = { object: 'response', status: 'failed', error: { code: 'server_error', message: 'no' }, output: [] }
  const broken = { choices: [{ index: 0, text: 'H', finish_reason: 'error' }] }
  const control = { tenant: 'a', abort() {}, onBytes() {}, release() {}, quietMs: null, endingMs: 5_000 }

  test.each([
    ['responses', responses, failed],
    ['completions', text, broken],
  ])('is none, small and large: %s', async (_, native, body) => {
    const read = (more: object) => {
      const head = headOf({})
      const bytes = streaming(Buffer.from(JSON.stringify({ ...body, ...more })))
      return readAnswer({ ...head, request: { ...head.request, native } }, bytes, control)
    }
    const small = await read({})
    expect(small).toMatchObject({ failure: { kind: 'status' } })
    expect(await read({ padding: ' '.repeat(1_100_000) })).toEqual(small)
  })
})

test('a whole answer of megabytes in place of a stream goes on piece by piece, others in between', async () => {
  const content = 'word '.repeat(600_000)
  const message = { role: 'assistant', content }
  const completion = { id: 'c', model: 'm', choices: [{ index: 0, message, finish_reason: 'stop' }] }
  const control = { tenant: 'a', abort() {}, onBytes() {}, release() {}, quietMs: null, endingMs: 20 }
  const source = streaming(Buffer.from(JSON.stringify(completion)))
  const read = await readAnswer(headOf({ stream: true }), source, control)
  if (!('answer' in read) || !read.answer.stream) throw new Error(JSON.stringify(read))
  const { head, rest, observer } = read.answer
  expect(Buffer.concat(head).length).toBeLessThanOrEqual(256 * 1024)
  expect(observer.speaks).toBe(true)
  let [turns, pieces] = [0, 0]
  let timer = setImmediate(function tick() {
    turns++
    timer = setImmediate(tick)
  })
  const written = [...head]
  for (let next = await rest.next(); !next.done; next = await rest.next(), pieces++)
    written.push(observer.push(Buffer.from(next.value)) ?? Buffer.alloc(0))
  clearImmediate(timer)
  expect(pieces).toBeGreaterThan(10)
  expect(turns).toBeGreaterThanOrEqual(pieces - 1)
  const text = Buffer.concat(written).toString()
  const said = text
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice('data: '.length)).choices[0].delta.content ?? '')
  expect(said.join('')).toBe(content)
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
})
