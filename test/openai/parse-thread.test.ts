import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { ParseThread } from '../../src/openai/parse-thread.ts'
import { parseRawBody } from '../../src/openai/raw-body.ts'

const thread = new ParseThread()
/** As a large body is read: alone in its memory. */
const alone = (text: string) => {
  const raw = Buffer.allocUnsafeSlow(Buffer.byteLength(text))
  raw.write(text)
  return raw
}

describe('on the thread', () => {
  test.each([
    ['plain text', `{"model":"a","messages":[{"role":"user","content":"${'word '.repeat(300_000)}"}]}`],
    [
      'other scripts and escapes',
      `{"a":"${'wörd → \\"\\ud83d\\u0000 😀'.repeat(50_000)}","ключ":[[[1e400,-0,9007199254740993]]]}`,
    ],
    ['keys of prototypes', '{"__proto__":{"x":1},"constructor":{"prototype":null},"toString":"a"}'],
    ['no field at all', '{}'],
  ])('%s: the same bytes, and the same as here', async (_, text) => {
    const raw = await thread.parse(alone(text), 'a')
    expect(raw.equals(Buffer.from(text))).toBe(true)
    const [there, here] = [parseRawBody(raw), parseRawBody(Buffer.from(text))]
    expect(there).toEqual(here)
    expect(Object.getOwnPropertyNames(there.json)).toEqual(Object.getOwnPropertyNames(here.json))
    expect(Object.getPrototypeOf(there.json)).toBe(Object.prototype)
  })

  test.each([
    ['a field twice', '{"model":"a","model":"b"}'],
    ['a look-alike', '{"model":"a","Model":"b"}'],
    ['broken JSON', '{"model":'],
    ['a list', '[1]'],
    ['too deep', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`],
    ['not UTF-8', '{"a":"\xff"}'],
  ])('%s: the same refusal', async (name, text) => {
    const bytes = name === 'not UTF-8' ? Buffer.from(text, 'latin1') : Buffer.from(text)
    const raw = Buffer.allocUnsafeSlow(bytes.length)
    bytes.copy(raw)
    const here = await (async () => parseRawBody(bytes))().catch((error: GatewayError) => error)
    const there = await thread.parse(raw, 'a').catch((error: GatewayError) => error)
    expect(there).toBeInstanceOf(GatewayError)
    const { status, message, param } = there as GatewayError
    expect({ status, message, param }).toEqual({
      status: 400,
      message: (here as GatewayError).message,
      param: (here as GatewayError).param,
    })
  })
})

test('a tenant with many bodies does not keep out another one: they take turns', async () => {
  const own = new ParseThread()
  const order: string[] = []
  const ask = async (tenant: string) => {
    await own.parse(alone('{"a":1}'), tenant)
    order.push(tenant)
  }
  await Promise.all([...Array.from({ length: 20 }, () => ask('many')), ask('other')])
  // One is being parsed, and one of each comes next.
  expect(order.indexOf('other')).toBeLessThanOrEqual(2)
  expect(order).toHaveLength(21)
})
