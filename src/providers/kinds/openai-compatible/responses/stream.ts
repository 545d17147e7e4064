import { createParser } from 'eventsource-parser'
import { isObject } from '../../../../openai/is-object.ts'
import { DONE_FRAME, frame } from '../../../../openai/sse.ts'
import { UpstreamError } from '../../../provider.ts'
import { annotationOf, callOf, detailOf, finishReasonOf, headOf, usageOf, wordsOf } from './completion.ts'
import { kindOf, type Told, ToldItems } from './told.ts'

type Fields = Record<string, unknown>

const MAX_EVENT_CHARS = 16 * 1024 * 1024
const ALIVE = Buffer.from(': thinking\n\n')

/**
 * The Responses API's events as chat completion chunks; usage comes last, then `[DONE]`.
 *
 * @param created Unix seconds
 * @param toError an error as the client is told it
 */
export async function* chatChunks(
  body: AsyncIterable<Uint8Array>,
  created: number,
  toError: (error: unknown) => Fields,
): AsyncGenerator<Buffer> {
  const events: Fields[] = []
  let failure: UpstreamError | null = null
  const parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: ({ data }) => {
      if (data.startsWith('[DONE]')) return
      try {
        const event: unknown = JSON.parse(data)
        if (isObject(event)) events.push(event)
      } catch {
        failure = new UpstreamError('protocol', 'the provider sent an event that is not JSON')
      }
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded')
        failure = new UpstreamError('protocol', 'the provider sent more than we take')
    },
  })
  const decoder = new TextDecoder()
  const converter = new Converter(created, toError)
  function* converted(text: string): Generator<Buffer> {
    parser.feed(text)
    for (const event of events.splice(0)) {
      if (!converter.ended) yield* converter.convert(event)
    }
  }
  for await (const bytes of body) {
    yield* converted(decoder.decode(bytes, { stream: true }))
    if (converter.ended) return
    if (failure) throw failure
  }
  // Some leave out the blank line after their last event.
  yield* converted(`${decoder.decode()}\n\n`)
}

/** Items come one after the other or side by side. */
class Converter {
  ended = false
  #head: Fields
  #hasBegun = false
  #calls = 0
  #details = 0
  readonly #items = new ToldItems()
  readonly #created: number
  readonly #toError: (error: unknown) => Fields

  constructor(created: number, toError: (error: unknown) => Fields) {
    this.#created = created
    this.#head = headOf({}, created)
    this.#toError = toError
  }

  *convert(event: Fields): Generator<Buffer> {
    const { type, response, delta } = event
    if (isObject(response)) this.#head = headOf(response, this.#created)
    const text = typeof delta === 'string' ? delta : ''
    switch (type) {
      case 'response.created':
        yield* this.#begin()
        break
      case 'response.in_progress':
      case 'response.queued':
        yield ALIVE
        break
      case 'response.output_item.added':
        if (isObject(event.item)) yield* this.#startCall(this.#items.of(event, kindOf(event.item)), event.item)
        break
      case 'response.output_text.delta':
        this.#items.of(event, 'message').text = true
        yield* this.#delta({ content: text }, event.logprobs)
        break
      case 'response.refusal.delta':
        this.#items.of(event, 'message').refusal = true
        yield* this.#delta({ refusal: text })
        break
      case 'response.reasoning_summary_part.added':
        if (Number(event.summary_index) > 0) yield* this.#delta({ reasoning_content: '\n\n' })
        else yield ALIVE
        break
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        this.#items.of(event, 'reasoning').thoughts = true
        yield* this.#delta({ reasoning_content: text })
        break
      case 'response.output_text.annotation.added':
        if (isObject(event.annotation)) yield* this.#delta({ annotations: [annotationOf(event.annotation)] })
        break
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        yield* this.#input(this.#items.of(event, 'call'), text, type.startsWith('response.custom'))
        break
      case 'response.output_item.done':
        if (isObject(event.item)) yield* this.#endItem(this.#items.of(event, kindOf(event.item)), event.item)
        break
      case 'response.completed':
      case 'response.incomplete':
        yield* this.#finish(isObject(response) ? response : {}, type === 'response.incomplete')
        break
      case 'response.failed':
        yield this.#fail(isObject(response) ? response.error : null)
        break
      case 'error':
        yield this.#fail(isObject(event.error) ? event.error : event)
        break
    }
  }

  *#begin(): Generator<Buffer> {
    if (this.#hasBegun) return
    this.#hasBegun = true
    yield this.#chunk({ role: 'assistant', content: '' })
  }

  *#startCall(told: Told, item: Fields): Generator<Buffer> {
    const call = callOf(item)
    if (!call || told.call !== null) return
    told.call = this.#calls++
    const { id, type } = call
    const named =
      type === 'custom' ? { custom: { name: item.name, input: '' } } : { function: { name: item.name, arguments: '' } }
    yield* this.#delta({ tool_calls: [{ index: told.call, id, type, ...named }] })
  }

  *#input(told: Told, text: string, isCustom: boolean): Generator<Buffer> {
    if (told.call === null || text === '') return
    told.input = true
    const piece = isCustom ? { custom: { input: text } } : { function: { arguments: text } }
    yield* this.#delta({ tool_calls: [{ index: told.call, ...piece }] })
  }

  /** What no delta told of an item is told now. */
  *#endItem(told: Told, item: Fields): Generator<Buffer> {
    if (told.isDone) return
    told.isDone = true
    if (item.type === 'reasoning') {
      const words = wordsOf(item)
      if (!told.thoughts && words !== '') yield* this.#delta({ reasoning_content: words })
      const detail = detailOf(item)
      if (detail) yield* this.#delta({ reasoning_details: [{ ...detail, index: this.#details++ }] })
      return
    }
    if (item.type === 'message') {
      for (const part of Array.isArray(item.content) ? item.content.filter(isObject) : []) {
        if (!told.text && typeof part.text === 'string' && part.text !== '')
          yield* this.#delta({ content: part.text }, part.logprobs)
        if (!told.refusal && typeof part.refusal === 'string' && part.refusal !== '')
          yield* this.#delta({ refusal: part.refusal })
      }
      return
    }
    yield* this.#startCall(told, item)
    const call = callOf(item)
    if (!call || told.input) return
    const isCustom = call.type === 'custom'
    const { input, arguments: args } = (isCustom ? call.custom : call.function) as Fields
    yield* this.#input(told, String(isCustom ? input : args), isCustom)
  }

  *#finish(response: Fields, isCut: boolean): Generator<Buffer> {
    this.ended = true
    const output = (Array.isArray(response.output) ? response.output : []).map((item) => (isObject(item) ? item : {}))
    for (const [index, told] of this.#items.ofAll(output).entries()) yield* this.#endItem(told, output[index] as Fields)
    yield* this.#begin()
    const reason = finishReasonOf({ ...response, ...(isCut && { status: 'incomplete' }) }, this.#calls > 0)
    yield this.#chunk({}, reason)
    if (isObject(response.usage))
      yield frame({ ...this.#head, object: 'chat.completion.chunk', choices: [], usage: usageOf(response.usage) })
    yield DONE_FRAME
  }

  #fail(error: unknown): Buffer {
    this.ended = true
    return frame({ error: this.#toError(error) })
  }

  *#delta(delta: Fields, logprobs?: unknown): Generator<Buffer> {
    yield* this.#begin()
    const content = Array.isArray(logprobs) && logprobs.length > 0 ? logprobs : null
    yield this.#chunk(delta, null, content && { content, refusal: null })
  }

  #chunk(delta: Fields, finish: string | null = null, logprobs: unknown = null): Buffer {
    const choices = [{ index: 0, delta, logprobs, finish_reason: finish }]
    return frame({ ...this.#head, object: 'chat.completion.chunk', choices })
  }
}
