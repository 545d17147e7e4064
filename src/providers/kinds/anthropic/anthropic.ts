import type Anthropic from '@anthropic-ai/sdk'
import { parseJson } from '../../../openai/error.ts'
import { apiKey } from '../../api-key.ts'
import { baseUrl } from '../../base-url.ts'
import { HttpClient } from '../../http/client.ts'
import { readAll } from '../../http/read-all.ts'
import { offProvider } from '../../off-provider.ts'
import { type Provider, type ProviderAnswer, type ProviderCall, UpstreamError } from '../../provider.ts'
import { shapeOf } from '../../relay/shape.ts'
import { openaiError } from './error.ts'
import { messagesBody } from './request.ts'
import { completionOf } from './response.ts'
import type { AnthropicConfig } from './schema.ts'
import { openaiStream } from './stream.ts'

const MAX_BODY_BYTES = 64 * 1024 * 1024

/** Anthropic's own Messages API, in OpenAI's format on both sides. */
export function anthropic(name: string, config: AnthropicConfig): Provider {
  const key = apiKey(config, `the api_key of provider '${name}'`)
  const base = baseUrl(config.base_url)
  if (typeof base === 'string') return offProvider(name, base)
  const http = new HttpClient({
    origin: base.origin,
    connectTimeoutMs: config.connect_timeout_ms,
    maxConnections: config.max_connections,
  })
  const fixed = {
    ...config.headers,
    'anthropic-version': config.version,
    'content-type': 'application/json',
    'accept-encoding': 'identity',
  }

  return {
    name,
    get unavailable() {
      return config.key_required ? key.missing : null
    },
    async chat({ candidate, request, signal, requestId }: ProviderCall): Promise<ProviderAnswer> {
      const body = messagesBody(request.body, candidate, config.default_max_tokens)
      const secret = key.read()
      const answer = await http.send({
        method: 'POST',
        path: `${base.path}/messages${base.query}`,
        headers: { ...fixed, 'x-request-id': requestId, ...(secret !== undefined && { 'x-api-key': secret }) },
        body: Buffer.from(JSON.stringify(body)),
        signal,
        secret,
      })
      return convert(answer, request.stream)
    },
    close: () => http.close(),
  }
}

function convert(answer: ProviderAnswer, stream: boolean): ProviderAnswer {
  const { status, headers, body } = answer
  const created = Math.floor(Date.now() / 1000)
  if (status !== 200) return { status, headers, body: convertedError(body) }
  return {
    status,
    headers: { ...headers, 'content-type': stream ? EVENTS : 'application/json' },
    body: converted(body, created),
  }
}

const EVENTS = 'text/event-stream; charset=utf-8'

/** A stream or a message, whichever was sent: the label may lie. */
async function* converted(body: AsyncIterable<Uint8Array>, created: number): AsyncGenerator<Buffer> {
  const { shape, body: all } = await shapeOf(body)
  if (shape === 'events') {
    yield* openaiStream(all, created)
    return
  }
  const json = parseJson(await readAll(all, MAX_BODY_BYTES)) as Anthropic.Message | undefined
  if (json?.type !== 'message' || !Array.isArray(json.content)) {
    throw new UpstreamError('protocol', 'the provider sent something that is not a message')
  }
  yield Buffer.from(JSON.stringify(completionOf(json, created)))
}

/** What is not Anthropic's error shape (a proxy's page) stays as it is. */
async function* convertedError(body: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const bytes = await readAll(body, MAX_BODY_BYTES)
  const json = parseJson(bytes)
  if ((json as { type?: unknown } | undefined)?.type !== 'error') {
    yield bytes
    return
  }
  const { status: _, ...error } = openaiError(json)
  yield Buffer.from(JSON.stringify({ error }))
}
