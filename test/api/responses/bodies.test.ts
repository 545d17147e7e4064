import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { call, expectError, metric } from '../../support/clients.ts'
import { measured } from '../../support/measured.ts'
import { openRaw, postText } from '../../support/raw-http.ts'
import { type ScriptedGateway, startScripted } from '../../support/scripted-gateway.ts'
import { chunkOf, type Exchange, replyPlain, replyStream } from '../../support/upstream.ts'

const MAX_BODY = 1024 * 1024

let scripted: ScriptedGateway
let hitsBefore = 0

beforeAll(async () => {
  scripted = await startScripted({ server: { max_body_bytes: MAX_BODY } })
})
afterAll(() => scripted?.close())
beforeEach(() => {
  scripted.upstream.play((exchange: Exchange) => (exchange.json.stream ? replyStream() : replyPlain())(exchange))
  hitsBefore = scripted.upstream.requests.length
})

const post = (body: unknown) => call(scripted.gateway, '/v1/responses', { user: 'ann', body })
const hits = () => scripted.upstream.requests.length - hitsBefore

async function refused(response: Response, status = 400) {
  const text = await response.text()
  expect([response.status, text]).toEqual([status, expect.any(String)])
  expect(response.headers.get('x-request-id')).toMatch(/\S/)
  expect(hits()).toBe(0)
  return expectError(text)
}

describe('bodies that are refused before anything is asked', () => {
  test.each([
    '',
    'null',
    '[]',
    '"text"',
    '{',
    '{"model":"one",}',
    '{"model":"one","input":"x","model":"two"}',
    'model=one',
  ])('no JSON object: %j', async (text) => void (await refused(await post(text))))

  test.each([
    ['a deep part', `{"model":"one","input":[{"role":"user","content":[${'['.repeat(100_000)}`],
    [
      'deep parameters of a tool',
      `{"model":"one","input":"x","tools":[{"type":"function","parameters":${'{"a":'.repeat(70)}1${'}'.repeat(70)}}]}`,
    ],
    ['32,770 items', `{"model":"one","input":[${'{},'.repeat(32_769)}{}]}`],
  ])('%s', async (_, text) => void (await refused(await post(text))))

  test('too much, declared', async () => {
    const connection = await openRaw(scripted.gateway.url)
    const headers = ['host: gateway', `authorization: Bearer ${scripted.gateway.key}`]
    connection.send(postText([...headers, `content-length: ${MAX_BODY + 1}`], '', '/v1/responses'))
    expect((await connection.answer()).status).toBe(413)
    await connection.closed
    expect(hits()).toBe(0)
  })

  test.each([
    [{ input: [{ role: 'robot', content: 'x' }] }, 'input.0.role'],
    [{ input: [] }, 'input'],
    [{ input: null }, 'input'],
    [{ input: [{ type: 'reasoning', summary: [] }] }, 'input'],
    [{ model: 'no-such-model' }, 'model'],
    [{ tools: [5] }, 'tools.0'],
  ])('%j: the field is named', async (fields, param) => {
    const response = await post({ model: 'one', input: 'x', ...fields })
    const { status } = response
    expect((await refused(response, status)).param).toBe(param)
    expect([400, 404]).toContain(status)
  })

  test('what no model here can take is a 400 that says what', async () => {
    const content = [{ type: 'input_image', file_id: 'file_1' }]
    const error = await refused(await post({ model: 'one', input: [{ role: 'user', content }] }))
    expect(error).toMatchObject({ code: 'unsupported_parameter', param: 'input.0.content.0' })
  })
})

test('a wide body holds nobody up for long', async () => {
  const evil = `{"model":"one","input":[${'{"role":"user"},'.repeat(32_000)}{"role":1}]}`
  const cpuSeconds = () => metric(scripted.gateway, 'process_cpu_seconds_total')
  const before = await cpuSeconds()
  for (let i = 0; i < 8; i++) await refused(await post(evil))
  const perBody = ((await cpuSeconds()) - before) / 8
  measured('CPU time of a response’s body of 32,000 items', `${(perBody * 1000).toFixed(0)} ms`)
  expect(perBody).toBeLessThan(0.2)
})

test('a chain that is larger than one request may be is a 413, not a burden', async () => {
  let previous: string | null = null
  const statuses: number[] = []
  for (let i = 0; i < 4; i++) {
    const response: Response = await post({ model: 'one', input: 'x'.repeat(400_000), previous_response_id: previous })
    statuses.push(response.status)
    previous = ((await response.json()) as { id?: string }).id ?? previous
  }
  expect(statuses).toEqual([200, 200, 413, 413])
})

describe('answers that can not be told', () => {
  test('calls that are mixed up break the stream, and are told', async () => {
    const call = (index: number, fields: Record<string, unknown>) => chunkOf({ tool_calls: [{ index, ...fields }] })
    scripted.upstream.play((exchange) => {
      exchange.stream()
      exchange.event(call(0, { id: 'a', type: 'function', function: { name: 'f', arguments: '{' } }))
      exchange.event(call(1, { id: 'b', type: 'function', function: { name: 'g', arguments: '{' } }))
      setTimeout(() => exchange.event(call(0, { function: { arguments: '}' } })), 50)
    })
    const text = await (await post({ model: 'one', input: 'x', stream: true })).text()
    expect(text).toMatch(/event: error\n[\s\S]*event: response\.failed\n/)
    expect(text).not.toContain('response.completed')
  })

  test('without a count of tokens they are estimated, and told all the same', async () => {
    scripted.upstream.play((exchange) => {
      if (!exchange.json.stream) {
        const choices = [{ index: 0, message: { role: 'assistant', content: 'Hello there.' }, finish_reason: 'stop' }]
        exchange.reply(200, { id: 'x', choices })
        return
      }
      exchange.stream()
      exchange.event(chunkOf({ content: 'Hello there.' }))
      exchange.event(chunkOf({}, 'stop'))
      exchange.end()
    })
    const plain = await (await post({ model: 'one', input: 'x' })).json()
    expect(plain.usage.output_tokens).toBeGreaterThan(0)
    const text = await (await post({ model: 'one', input: 'x', stream: true })).text()
    expect(
      JSON.parse(/event: response\.completed\ndata: (.*)/.exec(text)?.[1] ?? '').response.usage.output_tokens,
    ).toBeGreaterThan(0)
  })
})
