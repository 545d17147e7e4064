import { readFileSync } from 'node:fs'
import { Ajv2020 as Ajv } from 'ajv/dist/2020.js'
import { expect } from 'vitest'

/** The specification, and validators of its schemas. */
const specification = JSON.parse(
  readFileSync(new URL('../fixtures/openresponses/openresponses.json', import.meta.url), 'utf8'),
)

const { schemas } = specification.components
// A slip of the specification: it allows no schema in the format that is told of, only null.
schemas.JsonSchemaResponseFormat.properties.schema = { type: ['object', 'null'] }

const ajv = new Ajv({ strict: false, allErrors: true })
ajv.addSchema({ $id: 'spec', components: specification.components })
const validatorOf = (name: string) => ajv.compile({ $ref: `spec#/components/schemas/${name}` })

const validateResponse = validatorOf('ResponseResource')

/** Event type -> validator, from the events that the specification lists for a streamed answer. */
const validateEvent = new Map(
  specification.paths['/responses'].post.responses['200'].content['text/event-stream'].schema.oneOf.map(
    ({ $ref }: { $ref: string }) => {
      const name = $ref.slice($ref.lastIndexOf('/') + 1)
      return [schemas[name].properties.type.enum[0], validatorOf(name)] as const
    },
  ),
) as Map<string, ReturnType<typeof validatorOf>>

// biome-ignore lint/suspicious/noExplicitAny: answers of any shape, checked by schemas
export type Json = Record<string, any>

/** Checks a whole answer against `ResponseResource`, and what a schema can't say. */
export function expectResponse(response: Json): void {
  validateResponse(response)
  expect(validateResponse.errors ?? [], JSON.stringify(response)).toEqual([])
  const ids = response.output.map(({ id }: Json) => id)
  expect(new Set(ids).size).toBe(ids.length)
  if (response.status === 'completed') {
    expect(response.completed_at).toBeGreaterThanOrEqual(response.created_at)
    expect(response.output.length).toBeGreaterThan(0)
    for (const { status } of response.output) expect(status ?? 'completed').toBe('completed')
  }
  if (response.usage) {
    expect(response.usage.total_tokens).toBe(response.usage.input_tokens + response.usage.output_tokens)
  }
}

export interface SseEvent {
  event: string
  data: Json
}

/** Events of a stream; each must have its name in the `event:` line and in its data. */
export function readEvents(text: string): SseEvent[] {
  return text
    .split('\n\n')
    .filter((block) => block.trim() !== '' && !block.startsWith(':'))
    .map((block) => {
      const [, event, data] = /^event: (\S+)\ndata: (.*)$/s.exec(block) ?? []
      if (event === undefined || data === undefined) throw new Error(`Not an event: ${block}`)
      return { event, data: JSON.parse(data) }
    })
}

/**
 * Checks a whole stream: each event against its schema, numbers and order, and that the deltas add up to what `done`
 * says and to what the last response holds.
 *
 * @returns the last response
 */
export function expectStream(events: readonly SseEvent[]): Json {
  for (const { event, data } of events) {
    expect(data.type).toBe(event)
    const validate = validateEvent.get(event)
    // Custom tools are OpenAI's, and not in the specification.
    if (!validate) expect(event).toMatch(/^response\.custom_tool_call_input\.(delta|done)$/)
    validate?.(data)
    expect(validate?.errors ?? [], `${event}: ${JSON.stringify(data)}`).toEqual([])
  }
  expect(events.map(({ data }) => data.sequence_number)).toEqual(events.map((_, i) => i))
  expect(events.slice(0, 2).map(({ event }) => event)).toEqual(['response.created', 'response.in_progress'])
  const last = events.at(-1)!
  expect(last.event).toMatch(/^response\.(completed|incomplete)$/)
  const { response } = last.data
  expectResponse(response)
  expect(response.status).toBe(last.event.slice('response.'.length))
  const inner = events.slice(2, -1)
  for (const [index, item] of response.output.entries()) {
    const own = inner.filter(({ data }) => data.output_index === index)
    expectItem(own, item)
    // One item after the other.
    const places = own.map((one) => inner.indexOf(one))
    expect(places.at(-1)! - places[0]!).toBe(own.length - 1)
  }
  expect(new Set(inner.map(({ data }) => data.output_index)).size).toBe(response.output.length)
  for (const { event, data } of events) {
    if (event.startsWith('response.c') && data.response) expect(data.response.id).toBe(response.id)
  }
  return response
}

function expectItem(events: readonly SseEvent[], item: Json): void {
  const [first, ...rest] = events
  expect(first).toMatchObject({ event: 'response.output_item.added', data: { item: { id: item.id, type: item.type } } })
  expect(rest.at(-1)).toMatchObject({ event: 'response.output_item.done', data: { item } })
  const middle = rest.slice(0, -1)
  for (const { data } of middle) expect(data.item_id).toBe(item.id)
  const names = middle.map(({ event }) => event.replace('response.', ''))
  const deltas = (name: string) =>
    middle
      .filter(({ event }) => event === `response.${name}`)
      .map(({ data }) => data.delta)
      .join('')
  switch (item.type) {
    case 'message': {
      const expected = item.content.flatMap((part: Json, at: number) => {
        const kind = part.type === 'refusal' ? 'refusal' : 'output_text'
        const own = middle.filter(({ data }) => data.content_index === at)
        const said = own.filter(({ event }) => event === `response.${kind}.delta`).map(({ data }) => data.delta)
        expect(said.join('')).toBe(part.text ?? part.refusal)
        expect(own.at(-1)?.data.part).toEqual(part)
        return ['content_part.added', `${kind}.done`, 'content_part.done']
      })
      expect(names.filter((name) => !/\.delta$|annotation/.test(name))).toEqual(expected)
      break
    }
    case 'function_call':
      expect(deltas('function_call_arguments.delta') || '{}').toBe(item.arguments)
      expect(names.filter((name) => !name.endsWith('.delta'))).toEqual(['function_call_arguments.done'])
      break
    case 'custom_tool_call':
      expect(deltas('custom_tool_call_input.delta')).toBe(item.input)
      expect(names.at(-1)).toBe('custom_tool_call_input.done')
      break
    case 'reasoning':
      expect(deltas('reasoning_summary_text.delta')).toBe(item.summary.map(({ text }: Json) => text).join(''))
      if (item.summary.length > 0) {
        expect(names[0]).toBe('reasoning_summary_part.added')
        expect(names.slice(-2)).toEqual(['reasoning_summary_text.done', 'reasoning_summary_part.done'])
      }
      break
    default:
      throw new Error(`No check for items of type ${item.type}`)
  }
}
