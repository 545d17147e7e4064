import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { configSchema } from '../../../src/config/schema.ts'
import { discover } from '../../../src/providers/discover.ts'
import { readAll } from '../../../src/providers/http/read-all.ts'
import { openProviders } from '../../../src/providers/kinds.ts'
import type { Provider } from '../../../src/providers/provider.ts'
import { chat } from '../../contracts/provider.ts'
import { candidate } from '../../support/relay-harness.ts'
import { completionBody, replyPlain, startUpstream, type Upstream } from '../../support/upstream.ts'

let upstream: Upstream
let provider: Provider

afterEach(async () => {
  await upstream?.close()
  await provider?.close()
})

const config = (entry: Record<string, unknown>) =>
  configSchema.parse({ providers: { p: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, ...entry } } })

/** Sends one request by a provider of this configuration; what arrived. */
async function arrived(entry: Record<string, unknown>, fields: Record<string, unknown> = {}) {
  upstream = await startUpstream(replyPlain())
  provider = openProviders(config(entry)).get('p') as Provider
  await send(fields)
  return upstream.requests[0]
}

async function send(fields: Record<string, unknown> = {}) {
  const answer = await provider.chat({
    candidate: candidate('c', 'p', { model: 'my model' }),
    request: chat(fields),
    signal: new AbortController().signal,
    requestId: 'req-7',
  })
  await readAll(answer.body, 1e6)
  return answer
}

describe('what is sent', () => {
  test('OpenAI: bearer key, our request id, no compression asked for', async () => {
    expect(await arrived({ api_key: 'sk-1', headers: { 'OpenAI-Organization': 'org' } })).toMatchObject({
      method: 'POST',
      path: '/v1/chat/completions',
      headers: {
        authorization: 'Bearer sk-1',
        'x-request-id': 'req-7',
        'accept-encoding': 'identity',
        'content-type': 'application/json',
        'openai-organization': 'org',
      },
    })
  })

  test('a long request arrives whole, with its length', async () => {
    const content = 'ä long text '.repeat(20_000)
    const request = await arrived({ api_key: 'k' }, { messages: [{ role: 'user', content }] })
    expect(JSON.parse(String(request?.body))).toMatchObject({ model: 'my model', messages: [{ content }] })
    expect(request?.headers['content-length']).toBe(String(Buffer.byteLength(String(request?.body))))
  })

  test('Azure: api-key header, api-version, the deployment in the path', async () => {
    const request = await arrived({
      auth: 'api-key',
      api_key: 'az',
      query: { 'api-version': '2024-10-21' },
      chat_path: '/openai/deployments/{model}/chat/completions',
    })
    expect(request?.path).toBe('/v1/openai/deployments/my%20model/chat/completions?api-version=2024-10-21')
    expect(request?.headers['api-key']).toBe('az')
    expect(request?.headers).not.toHaveProperty('authorization')
  })

  test('a local server: no key at all', async () => {
    const request = await arrived({ auth: 'none', key_required: false, api_key: 'unused' })
    expect(request?.headers).not.toHaveProperty('authorization')
    expect(provider.unavailable).toBe(null)
  })

  test('a server that refuses stream_options is not sent them', async () => {
    const request = await arrived({ api_key: 'k', stream_usage: false }, { stream: true })
    expect(JSON.parse(String(request?.body))).not.toHaveProperty('stream_options')
  })

  test('addresses and keys in the request are data, never followed', async () => {
    const canary = await startUpstream(replyPlain())
    const evil = {
      api_base: canary.origin,
      base_url: canary.origin,
      api_key: 'sk-evil',
      model_list: [{ api_base: canary.origin }],
    }
    const request = await arrived({ api_key: 'sk-1' }, evil)
    expect(request?.headers.authorization).toBe('Bearer sk-1')
    expect(JSON.parse(String(request?.body))).toMatchObject(evil)
    expect(canary.connections).toBe(0)
    await canary.close()
  })
})

describe('a key file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'key-'))
  const file = join(folder, 'key')
  afterEach(() => rmSync(file, { force: true }))

  test('is read, and read again when it is replaced', async () => {
    writeFileSync(file, 'first\n')
    expect((await arrived({ api_key_file: file }))?.headers.authorization).toBe('Bearer first')
    writeFileSync(`${file}.new`, 'second\n')
    renameSync(`${file}.new`, file)
    for (let i = 0; i < 40 && upstream.requests.at(-1)?.headers.authorization !== 'Bearer second'; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      await send()
    }
    expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer second')
  })
})

describe('unavailable', () => {
  test.each([
    [{}, "the api_key of provider 'p' is not set"],
    [{ base_url: '', api_key: 'k' }, 'its base_url is not set'],
    [{ base_url: 'nonsense', api_key: 'k' }, 'its base_url is not a URL'],
    [{ base_url: 'ftp://x', api_key: 'k' }, 'its base_url is neither http nor https'],
    [{ base_url: 'http://user:secret@x', api_key: 'k' }, 'its base_url holds credentials: use api_key'],
    [{ api_key_file: '/nowhere/key' }, 'its api_key_file is missing or empty'],
  ])('%j: %s', async (entry, why) => {
    upstream = await startUpstream()
    provider = openProviders(config(entry)).get('p') as Provider
    expect(provider.unavailable).toBe(why)
  })
})

describe('answers', () => {
  test('redirects are not followed', async () => {
    const elsewhere = await startUpstream(replyPlain())
    upstream = await startUpstream(replyPlain(307, '', { location: `${elsewhere.origin}/v1/chat/completions` }))
    provider = openProviders(config({ api_key: 'k' })).get('p') as Provider
    expect((await send()).status).toBe(307)
    expect(elsewhere.connections).toBe(0)
    await elsewhere.close()
  })

  test('connections are kept: ten requests in turn need no more than two', async () => {
    upstream = await startUpstream(replyPlain())
    provider = openProviders(config({ api_key: 'k' })).get('p') as Provider
    for (let i = 0; i < 10; i++) await send()
    expect(upstream.connections).toBeLessThanOrEqual(2)
  })
})

describe('close', () => {
  test('lets requests in work end, and one that comes too late is still served', async () => {
    let answer = () => {}
    upstream = await startUpstream(async (exchange) => {
      await new Promise<void>((resolve) => {
        answer = resolve
      })
      exchange.reply(200, completionBody())
    }, replyPlain())
    provider = openProviders(config({ api_key: 'k' })).get('p') as Provider
    const early = send()
    while (upstream.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const closed = provider.close()
    expect((await send()).status).toBe(200)
    answer()
    expect((await early).status).toBe(200)
    await closed
  })
})

describe('discover', () => {
  const discovered = async (body: unknown, status = 200) => {
    upstream = await startUpstream(replyPlain(status, body))
    const whole = config({ discover: true, key_required: false })
    const providers = openProviders(whole)
    provider = providers.get('p') as Provider
    return discover(whole, providers)
  }

  test('vLLM, llama.cpp and Ollama lists become candidates; embedding models do not', async () => {
    const { candidates, failed } = await discovered({
      object: 'list',
      data: [
        { id: 'Qwen/Qwen2.5-0.5B-Instruct', max_model_len: 32_768 },
        { id: '/models/SmolLM2-135M-Instruct-Q8_0.gguf', meta: { n_ctx_train: 8_192 } },
        { id: 'llama3.1:8b' },
        { id: 'nomic-embed-text:latest' },
      ],
    })
    expect(candidates).toMatchObject([
      {
        name: 'p/Qwen/Qwen2.5-0.5B-Instruct',
        model: 'Qwen/Qwen2.5-0.5B-Instruct',
        context_window: 32_768,
        size_b: 0.5,
      },
      {
        name: 'p/SmolLM2-135M-Instruct-Q8_0',
        model: '/models/SmolLM2-135M-Instruct-Q8_0.gguf',
        context_window: 8_192,
        size_b: 0.135,
      },
      { name: 'p/llama3.1:8b', size_b: 8, price: { input: 0, output: 0 }, provider: 'p' },
    ])
    expect(failed.size).toBe(0)
    expect(upstream.requests[0]).toMatchObject({ method: 'GET', path: '/v1/models' })
    configSchema.parse({ candidates })
  })

  test.each([
    [500, {}],
    [200, { data: 'nonsense' }],
    [200, '<html>'],
  ])('an answer of %d %j: none, and why', async (status, body) => {
    const { candidates, failed } = await discovered(body, status)
    expect(candidates).toEqual([])
    expect([...failed]).toEqual([['p', `it did not list its models (status ${status})`]])
  })
})
