import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpenAIEmbedder, type OpenAIEmbedderOptions } from '../../src/embedding/openai-embedder.ts'

interface Asked {
  path: string
  authorization: string | undefined
  body: { model: string; input: string; encoding_format: string }
}

let server: Server
let asked: Asked[]
let answer: (request: Asked, response: ServerResponse) => unknown
const embedders: OpenAIEmbedder[] = []

/** OpenAI's wire format: https://platform.openai.com/docs/api-reference/embeddings/create */
const reply = (response: ServerResponse, embedding: unknown) =>
  response.setHeader('content-type', 'application/json').end(
    JSON.stringify({
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding }],
      model: 'm',
      usage: { prompt_tokens: 1, total_tokens: 1 },
    }),
  )

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  return text
}

beforeEach(async () => {
  asked = []
  answer = (_, response) => reply(response, [3, 4, 0])
  server = createServer(async (request, response) => {
    const body = JSON.parse(await bodyOf(request))
    const seen = { path: request.url!, authorization: request.headers.authorization, body }
    asked.push(seen)
    await answer(seen, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

afterEach(async () => {
  for (const embedder of embedders.splice(0)) await embedder.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

function embedder(options: Partial<OpenAIEmbedderOptions> = {}): OpenAIEmbedder {
  const { port } = server.address() as AddressInfo
  const made = new OpenAIEmbedder({
    baseUrl: `http://127.0.0.1:${port}/v1/`,
    apiKey: 'sk-secret-canary',
    model: 'text-embedding-3-small',
    dim: 2,
    timeoutMs: 2000,
    ...options,
  })
  embedders.push(made)
  return made
}

describe('OpenAIEmbedder', () => {
  it('asks as OpenAI documents, cuts to dim and makes the length 1', async () => {
    const vector = await embedder().embed('What is a comet?')
    expect([...vector]).toEqual([expect.closeTo(0.6), expect.closeTo(0.8)])
    expect(asked).toEqual([
      {
        path: '/v1/embeddings',
        authorization: 'Bearer sk-secret-canary',
        body: { model: 'text-embedding-3-small', input: 'What is a comet?', encoding_format: 'float' },
      },
    ])
  })

  it('asks once for a text, whether at the same time or later, and hands out fresh vectors', async () => {
    const one = embedder()
    const [a, b] = await Promise.all([one.embed('same'), one.embed('same')])
    a.fill(9)
    expect(await one.embed('same')).toEqual(b)
    expect(asked).toHaveLength(1)
  })

  it('forgets the least recently used', async () => {
    const one = embedder({ cacheSize: 2 })
    for (const text of ['a', 'b', 'c', 'c', 'a']) await one.embed(text)
    expect(asked.map(({ body }) => body.input)).toEqual(['a', 'b', 'c', 'a'])
  })

  it('sends no key where there is none, no text where there is none, and a bounded part of a huge one', async () => {
    const one = embedder({ apiKey: undefined })
    expect(await one.embed(' \n')).toEqual(new Float32Array(2))
    await one.embed('long '.repeat(100_000))
    expect(asked).toHaveLength(1)
    expect(asked[0]!.authorization).toBeUndefined()
    expect(asked[0]!.body.input.length).toBeLessThan(10_000)
  })

  it('gives up at the deadline, and asks anew afterwards', async () => {
    answer = () => {}
    const one = embedder({ timeoutMs: 50 })
    await expect(one.embed('slow')).rejects.toMatchObject({ name: 'EmbedderError', reason: 'timeout' })
    answer = (_, response) => reply(response, [1, 0])
    expect([...(await one.embed('slow'))]).toEqual([1, 0])
  })

  it.each<[string, (response: ServerResponse) => unknown]>([
    ['an error status', (response) => response.writeHead(429).end('{"error":{"message":"sk-upstream-canary"}}')],
    ['no JSON', (response) => response.end('<html>')],
    ['another shape', (response) => response.end('{"data":[]}')],
    ['too few numbers', (response) => reply(response, [1])],
    ['zeros', (response) => reply(response, [0, 0])],
    ['numbers beyond float32', (response) => reply(response, [1e308, 1e308])],
    ['a broken connection', (response) => response.destroy()],
    ['an endless answer', (response) => response.end(`{"data":"${'x'.repeat(5_000_000)}"}`)],
  ])('rejects %s, without secret or text in the message', async (_, send) => {
    answer = (_, response) => send(response)
    const error = await embedder()
      .embed('private words')
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'EmbedderError', reason: 'upstream' })
    expect(String(error)).not.toMatch(/canary|private/)
  })

  it('refuses more texts than may wait', async () => {
    answer = async (_, response) => {
      await sleep(20)
      reply(response, [1, 0])
    }
    const one = embedder({ maxPending: 2 })
    const all = await Promise.allSettled(['a', 'b', 'c'].map((text) => one.embed(text)))
    expect(all.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    expect(all[2]).toMatchObject({ reason: { reason: 'overload' } })
  })

  it.each(['ftp://host/v1', 'nowhere', 'http://user:pass@host/v1'])('refuses the address %s', (baseUrl) => {
    expect(() => embedder({ baseUrl })).toThrow(/base_url/)
  })
})
