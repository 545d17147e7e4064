import { parseJson } from '../../../openai/error.ts'
import { converted } from '../../../openai/parse-thread.ts'
import { replaceModel } from '../../../openai/rewrite.ts'
import { jsonOf } from '../../../openai/serialised.ts'
import { apiKey } from '../../api-key.ts'
import { baseUrl } from '../../base-url.ts'
import { ANTHROPIC_GUARDS, without } from '../../guards.ts'
import { openHttp } from '../../http/open.ts'
import { MAX_ERROR_BYTES, readAll } from '../../http/read-all.ts'
import { offProvider } from '../../off-provider.ts'
import { type Provider, type ProviderAnswer, type ProviderCall, UpstreamError } from '../../provider.ts'
import { shapeOf } from '../../relay/shape.ts'
import { openaiError } from './error.ts'
import { messagesBody } from './request.ts'
import { messageAsChat } from './response.ts'
import type { AnthropicConfig } from './schema.ts'
import { openaiStream } from './stream.ts'

const MAX_BODY_BYTES = 64 * 1024 * 1024

/** Anthropic's own Messages API, in OpenAI's format on both sides. */
export function anthropic(name: string, config: AnthropicConfig): Provider {
  const key = apiKey(config, `the api_key of provider '${name}'`)
  const base = baseUrl(config.base_url)
  if (typeof base === 'string') return offProvider(name, base)
  const http = openHttp(base.origin, config)
  const fixed: Record<string, string> = {
    ...lowerCase(config.headers),
    'anthropic-version': config.version,
    'content-type': 'application/json',
    'accept-encoding': 'identity',
  }

  const send = (
    path: string,
    { body, headers, signal, requestId }: Pick<ProviderCall, 'signal' | 'requestId'> & MessagesCall,
  ): Promise<ProviderAnswer> => {
    const secret = key.read()
    return http.send({
      method: 'POST',
      path: `${base.path}${path}${base.query}`,
      headers: {
        ...fixed,
        ...headers,
        ...betas(fixed, headers),
        'x-request-id': requestId,
        ...(secret !== undefined && { 'x-api-key': secret }),
      },
      body,
      signal,
      secret,
    })
  }

  return {
    name,
    guards: without(ANTHROPIC_GUARDS, config.pass),
    get unavailable() {
      return config.key_required ? key.missing : null
    },
    async chat({
      candidate,
      request,
      signal,
      requestId,
      tenant = '',
      traceHeaders,
    }: ProviderCall): Promise<ProviderAnswer> {
      const native = request.native?.api === 'messages' ? request.native : null
      const answer = await send('/messages', {
        body: native
          ? replaceModel(native.raw, native.spans, candidate.model)
          : await jsonOf({ ...messagesBody(request.body, candidate, config.default_max_tokens) }, request.raw.length),
        headers: { ...native?.headers, ...traceHeaders },
        signal,
        requestId,
      })
      return native && answer.status === 200 ? answer : convert(answer, request.stream, tenant)
    },
    async countTokens({ candidate, native, signal, requestId }): Promise<number> {
      const { status, body } = await send('/messages/count_tokens', {
        body: replaceModel(native.raw, native.spans, candidate.model),
        headers: native.headers ?? {},
        signal,
        requestId,
      })
      // A count or an error: both are small.
      const json = parseJson(await readAll(body, MAX_ERROR_BYTES))
      const count = (json as { input_tokens?: unknown } | undefined)?.input_tokens
      if (status !== 200 || typeof count !== 'number') throw new UpstreamError('protocol', 'the provider did not count')
      return count
    },
    close: () => http.close(),
  }
}

const lowerCase = (headers: Record<string, string>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

/** The configuration's and the client's. */
function betas(...all: Readonly<Record<string, string>>[]): Record<string, string> {
  const named = all.flatMap((headers) => headers['anthropic-beta'] ?? [])
  return named.length > 0 ? { 'anthropic-beta': named.join(',') } : {}
}

interface MessagesCall {
  body: Buffer | readonly Buffer[]
  headers: Readonly<Record<string, string>>
}

function convert(answer: ProviderAnswer, stream: boolean, tenant: string): ProviderAnswer {
  const { status, headers, body } = answer
  const created = Math.floor(Date.now() / 1000)
  if (status !== 200) return { status, headers, body: convertedError(body) }
  return {
    status,
    headers: { ...headers, 'content-type': stream ? EVENTS : 'application/json' },
    body: asChat(body, created, tenant),
  }
}

const EVENTS = 'text/event-stream; charset=utf-8'

/** A stream or a message, whichever was sent: the label may lie. */
async function* asChat(body: AsyncIterable<Uint8Array>, created: number, tenant: string): AsyncGenerator<Buffer> {
  const { shape, body: all } = await shapeOf(body)
  if (shape === 'events') {
    yield* openaiStream(all, created)
    return
  }
  const chat = await converted(messageAsChat, await readAll(all, MAX_BODY_BYTES), { created }, tenant)
  if (!chat.told) throw new UpstreamError('protocol', 'the provider sent something that is not a message')
  yield chat.body
}

/** What is not Anthropic's error shape (a proxy's page) stays as it is. */
async function* convertedError(body: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const bytes = await readAll(body, MAX_ERROR_BYTES)
  const json = parseJson(bytes)
  if ((json as { type?: unknown } | undefined)?.type !== 'error') {
    yield bytes
    return
  }
  const { status: _, ...error } = openaiError(json)
  yield Buffer.from(JSON.stringify({ error }))
}
