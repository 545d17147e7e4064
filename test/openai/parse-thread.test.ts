import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { getPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import type { Conversion } from '../../src/openai/conversion.ts'
import { asAsked, embeddingsAnswer, readEmbeddings } from '../../src/openai/embeddings-answer.ts'
import { parseJson } from '../../src/openai/error.ts'
import { factsOfMessage } from '../../src/openai/messages/native.ts'
import { chatAsMessage } from '../../src/openai/messages/plain.ts'
import { converted, ParseThread } from '../../src/openai/parse-thread.ts'
import { parseRawBody } from '../../src/openai/raw-body.ts'
import { factsOfResponse } from '../../src/openai/responses/native.ts'
import { withoutLogprobs } from '../../src/openai/responses/plain.ts'
import { chatAsText, factsOfTextAnswer } from '../../src/openai/text-completion.ts'
import { messageAsChat } from '../../src/providers/kinds/anthropic/response.ts'
import { responseAsChat } from '../../src/providers/kinds/openai-compatible/responses/completion.ts'
import { plainChat } from '../../src/providers/relay/read-plain.ts'

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

describe('answers with embeddings, on the thread', () => {
  const floats = [0.25, -0.5, 1]
  const base64 = Buffer.from(Float32Array.from(floats).buffer).toString('base64')
  const told = (...data: unknown[]) => JSON.stringify({ object: 'list', data, usage: { prompt_tokens: 7 } })
  const at = (index: number, embedding: unknown) => ({ object: 'embedding', index, embedding })

  test.each([
    ['as they were asked for', 'float', told(at(0, floats), at(1, floats))],
    ['in floats, asked for in base64', 'base64', told(at(0, floats), at(1, floats))],
    ['in base64, asked for in floats', 'float', told(at(0, base64), at(1, base64))],
    ['in another order', 'float', told(at(1, floats), at(0, [1]))],
    ['without places', 'base64', told({ embedding: base64 }, { embedding: base64 })],
    ['sparse', 'float', told(at(0, { indices: [1], values: [1] }), at(1, { indices: [2], values: [2] }))],
    ['with a byte-order mark', 'float', `\uFEFF${told(at(0, floats), at(1, floats))}`],
    ['one too few', 'float', told(at(0, floats))],
    ['an empty one', 'float', told(at(0, []), at(1, floats))],
    ['broken off', 'float', '{"data":['],
    // What comes back is small, and memory that is shared can't be handed over.
    [
      'in a megabyte of digits',
      'base64',
      told(at(0, [1]), { index: 1, embedding: [0] }).replace('[0]', `[0.${'0'.repeat(1e6)}]`),
    ],
  ] as const)('%s: the same as here', async (_, format, text) => {
    const found = await thread.convert(embeddingsAnswer, alone(text), { inputs: 2, format, dimensions: 2 }, 'a')
    const json = parseJson(Buffer.from(text))
    const { facts, isInPlace, otherLength } = readEmbeddings(json, { inputs: 2, dimensions: 2 })
    expect(found.told).toEqual({ facts, otherLength })
    const body = facts ? asAsked(Buffer.from(text), format, isInPlace, json) : Buffer.from(text)
    expect(String(found.body)).toBe(String(body))
  })
})

describe('answers, on the thread', () => {
  const chat = (message: object, more: object = {}) =>
    JSON.stringify({ id: 'c-1', choices: [{ index: 0, message, finish_reason: 'stop', ...more }] })
  const said = chat({ role: 'assistant', content: 'Hi', reasoning: 'Hm' })
  const call = { id: 'call_1', function: { name: 'look', arguments: '{}' } }
  const usage = { promptTokens: 7, completionTokens: 2, cachedTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }
  const asked = { isSingle: true, tools: true, toolNames: new Set(['look']), thoughtsAs: 'reasoning_content' as const }
  const message = { type: 'message', content: [{ type: 'text', text: 'Hi' }], stop_reason: 'end_turn', usage: {} }
  const output = [{ type: 'message', content: [{ type: 'output_text', text: 'Hi' }] }]

  test.each<[string, Conversion<never, unknown>, string, unknown]>([
    ['a chat', plainChat, said, {}],
    ['a chat that is mended', plainChat, chat({ content: [{ type: 'text', text: 'H' }], tool_calls: [call] }), asked],
    ['a chat of nothing', plainChat, chat({ role: 'assistant', content: '' }), asked],
    ['a chat in events', plainChat, `data: ${said.replace('message', 'delta')}\n\ndata: [DONE]\n\n`, asked],
    ['a chat in lines', plainChat, `${said.replace('message', 'delta')}\n${said}\n`, asked],
    ['an error', plainChat, '{"error":{"message":"no","code":503}}', asked],
    ['no chat', plainChat, '<html>', asked],
    ['a chat as a message', chatAsMessage, said, { usage, candidate: 'one', stops: ['x'] }],
    ['a chat as a text', chatAsText, said, { before: 'Say ' }],
    ['a message as a chat', messageAsChat, JSON.stringify(message), { created: 1 }],
    ['no message', messageAsChat, '{}', { created: 1 }],
    ['a response as a chat', responseAsChat, JSON.stringify({ output }), { created: 1 }],
    ['a response that failed', responseAsChat, '{"error":{"message":"no"}}', { created: 1 }],
    ['half a response', responseAsChat, '{"status":"queued","output":[]}', { created: 1 }],
    ['facts of a message', factsOfMessage, JSON.stringify(message), null],
    ['facts of a response', factsOfResponse, JSON.stringify({ object: 'response', output }), null],
    ['facts of a text', factsOfTextAnswer, '{"choices":[{"text":"Hi"}]}', null],
    ['a text that broke off', factsOfTextAnswer, '{"choices":[{"text":"H","finish_reason":"error"}]}', null],
    [
      'a chat, without logprobs',
      withoutLogprobs,
      chat({ content: 'Hi' }, { logprobs: { content: [{ token: 'Hi' }] } }),
      null,
    ],
    [
      'a response, without logprobs',
      withoutLogprobs,
      JSON.stringify({ output: [{ content: [{ logprobs: [1] }] }] }),
      null,
    ],
  ])('%s: the same as here', async (_, conversion, text, args) => {
    const there = await thread.convert(conversion, alone(text), args as never, 'a')
    const here = conversion.run(Buffer.from(text), args as never)
    expect(String(there.body)).toBe(String(here.body))
    // Bytes of an error lose their class on the way.
    expect(there.told).toEqual(structuredClone(here.told))
  })

  test('small ones are converted here, large ones there', async () => {
    const large = chat({ role: 'assistant', content: 'word '.repeat(250_000) })
    expect(converted(plainChat, Buffer.from(said), {}, 'a')).not.toBeInstanceOf(Promise)
    const there = converted(plainChat, Buffer.from(large), {}, 'a')
    expect(there).toBeInstanceOf(Promise)
    expect(String((await there).body)).toBe(large)
  })

  test('one that fails tells nothing of what it was to convert, and fails alone', { timeout: 10_000 }, async () => {
    const args = { usage: null as never, candidate: 'one', stops: [] }
    const failed = thread.convert(chatAsMessage, alone(said), args, 'a')
    await expect(failed).rejects.toThrow(/^a large body could not be converted: chatAsMessage$/)
    const { message, stack } = (await failed.catch((error: Error) => error)) as Error
    // Where, for the log; not what.
    expect(stack).toMatch(new RegExp(`^Error: ${message}\n {4}at .*messages/`))
    expect(stack).not.toContain('promptTokens')
    expect((await thread.convert(plainChat, alone(said), {}, 'a')).told).toMatchObject({ isEmpty: false })
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

test('a body that can’t be handed over fails alone: the next is parsed', { timeout: 10_000 }, async () => {
  const own = new ParseThread()
  const gone = alone('{"a":1}')
  structuredClone(gone.buffer, { transfer: [gone.buffer] })
  const first = own.parse(alone('{"a":1}'), 'a')
  const failed = own.parse(gone, 'a')
  const last = own.parse(alone('{"b":2}'), 'b')
  expect(parseRawBody(await first).json).toEqual({ a: 1 })
  await expect(failed).rejects.toThrow(/detached|transfer/i)
  expect(parseRawBody(await last).json).toEqual({ b: 2 })
  expect(parseRawBody(await own.parse(alone('{"c":3}'), 'a')).json).toEqual({ c: 3 })
})

/** Another process parses two bodies of two tenants, and says how that went. */
async function elsewhere(command: string[], args: string[], then = ''): Promise<string> {
  const script = `
    import { readdirSync, readFileSync } from 'node:fs'
    import { ParseThread } from '${new URL('../../src/openai/parse-thread.ts', import.meta.url).href}'
    const thread = new ParseThread()
    const parse = (tenant) => thread.parse(Buffer.from(new TextEncoder().encode('{"a":1}').buffer), tenant)
    setTimeout(() => {}, 20_000)
    const told = await Promise.allSettled([parse('a'), parse('a'), parse('b')])
    console.log(told.map(({ reason }) => reason?.code ?? 'parsed').join())
    ${then}
    process.exit()
  `
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-parse-'))
  try {
    writeFileSync(join(dir, 'parse.mjs'), script)
    const [file = '', ...before] = [...command, process.execPath, '--no-warnings', ...args, join(dir, 'parse.mjs')]
    return (await promisify(execFile)(file, before, { timeout: 15_000 })).stdout
  } finally {
    rmSync(dir, { recursive: true })
  }
}

test('where no thread may be started, every body fails and none waits', { timeout: 20_000 }, async () => {
  const told = await elsewhere([], ['--permission', '--allow-fs-read=*'])
  expect(told).toBe('ERR_ACCESS_DENIED,ERR_ACCESS_DENIED,ERR_ACCESS_DENIED\n')
})

test.runIf(process.platform === 'linux')('in a nicer process it is as nice as that', { timeout: 20_000 }, async () => {
  const expected = Math.min(19, getPriority() + 12)
  // The 19th field of a thread's line, the first of which may hold spaces.
  const tellNice = `
    const nice = (task) => {
      try {
        return Number(readFileSync('/proc/self/task/' + task + '/stat', 'latin1').replace(/^.*\\) /s, '').split(' ')[16])
      } catch {
        return ${expected}
      }
    }
    console.log(Math.min(...readdirSync('/proc/self/task').map(nice)))
  `
  expect(await elsewhere(['nice', '-n', '12'], [], tellNice)).toBe(`parsed,parsed,parsed\n${expected}\n`)
})
