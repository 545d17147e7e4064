import { describe, expect, test } from 'vitest'
import { parseRawBody } from '../../src/openai/raw-body.ts'
import { Quoted, quotedIn, serialised } from '../../src/openai/serialised.ts'
import { withFields } from '../../src/openai/with-fields.ts'
import fc from '../support/properties.ts'

const LONG = 'Grüße, "Welt"\n\u2028 🦀 '.repeat(2_000)
const objects = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }), { maxKeys: 6 }) as fc.Arbitrary<
  Record<string, unknown>
>

/** How many turns of the event loop others have meanwhile. */
async function countingTurns<T>(work: () => Promise<T>): Promise<{ result: T; turns: number }> {
  let turns = 0
  let isOver = false
  const count = () => {
    turns++
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  const result = await work()
  isOver = true
  return { result, turns }
}

describe('a request that is written here', () => {
  test('is what JSON.stringify writes, and its fields lie where a parser finds them', () => {
    fc.assert(
      fc.property(objects, (object) => {
        // Look-alikes of known fields are refused elsewhere.
        const named = Object.fromEntries(Object.entries(object).map(([key, value], i) => [`x${i}${key}`, value]))
        const { raw, spans } = serialised(named)
        expect(String(raw)).toBe(JSON.stringify(named))
        expect(spans).toEqual(parseRawBody(raw).spans)
      }),
    )
  })

  test('leaves out what is undefined, as JSON.stringify does', () => {
    const object = {
      a: undefined,
      b: { c: undefined, d: [undefined, 1], e: {} },
      f: [],
      g: null,
      h: Number.NEGATIVE_INFINITY,
    }
    expect(String(serialised(object).raw)).toBe(JSON.stringify(object))
    expect(String(serialised({}).raw)).toBe('{}')
    expect([...serialised(object).spans.keys()]).toEqual(['b', 'f', 'g', 'h'])
  })

  test('takes long strings as they were quoted before, wherever they stand', async () => {
    const object = { text: LONG, list: [{ of: `${LONG}!` }, 'short'], [`key ${LONG}`]: LONG, last: 1 }
    const quoted = await quotedIn(object)
    for (const text of [LONG, `${LONG}!`]) expect(String(quoted.of(text))).toBe(JSON.stringify(text))
    expect(quoted.of('short')).toBeUndefined()
    const { raw, spans } = serialised(object, quoted)
    expect(String(raw)).toBe(JSON.stringify(object))
    expect(spans).toEqual(parseRawBody(raw).spans)
  })

  test('takes lists as they were written before, the same ones alone, and others have turns while many are', async () => {
    const parts = Array.from({ length: 10_000 }, (_, i) => ({ role: 'user', content: `${i} "word" `.repeat(60) }))
    const object = { model: 'x', messages: parts, none: [], odd: [undefined, 'a', [1, { b: null }]] }
    const { result: quoted, turns } = await countingTurns(() => quotedIn(object))
    // Seven megabytes: twice a turn for each.
    expect(turns).toBeGreaterThan(10)
    for (const list of [object.messages, object.none, object.odd]) {
      expect(String(quoted.of(list))).toBe(JSON.stringify(list))
    }
    expect(quoted.of([...parts])).toBeUndefined()
    for (const one of [object, { ...object, messages: [...parts].reverse() }]) {
      const { raw, spans } = serialised(one, quoted)
      expect(String(raw)).toBe(JSON.stringify(one))
      expect(spans).toEqual(parseRawBody(raw).spans)
    }
  })

  test('quotes what is longer than a turn in pieces, between which others have theirs', async () => {
    // Pairs of surrogates at every place where a piece may end, and halves of them.
    const text = `${'a'.repeat(1024 * 1024 - 1)}${'🦀'.repeat(1024 * 1024)}\ud800${'b'.repeat(100)}\udc00`
    const quoted = new Quoted()
    const { turns } = await countingTurns(() => quoted.prepare([text]))
    expect(String(quoted.of(text))).toBe(JSON.stringify(text))
    expect(turns).toBeGreaterThan(1)
  })
})

describe('a request of which fields are replaced', () => {
  test('has the other values byte by byte, and its fields lie where a parser finds them', () => {
    const raw = Buffer.from(' { "a" : 1.000 , "b":[ 1, 2 ], "ü":"\\u00fc" }')
    const changed = withFields({ raw, spans: parseRawBody(raw).spans }, { b: '"x"', c: 'true', gone: null })
    expect(Buffer.from(changed.raw).toString()).toBe('{"a":1.000,"b":"x","ü":"\\u00fc","c":true}')
    expect(changed.spans).toEqual(parseRawBody(Buffer.from(changed.raw)).spans)
    const none = withFields(changed, { a: null, b: null, ü: null, c: null })
    expect(Buffer.from(none.raw).toString()).toBe('{}')
    expect(withFields(changed, { gone: null })).toEqual(changed)
  })
})
