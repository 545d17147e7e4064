import { parseJson } from '../../../../openai/error.ts'
import { isObject } from '../../../../openai/is-object.ts'
import { converted } from '../../../../openai/parse-thread.ts'
import { MAX_ERROR_BYTES, readAll } from '../../../http/read-all.ts'
import { type ProviderAnswer, UpstreamError } from '../../../provider.ts'
import { shapeOf } from '../../../relay/shape.ts'
import { responseAsChat } from './completion.ts'
import { chatChunks } from './stream.ts'

const MAX_BODY_BYTES = 64 * 1024 * 1024

type ToError = (error: unknown) => Record<string, unknown>

/** An answer of the Responses API in the format of chat completions. */
export function chatAnswer(
  { status, headers, body }: ProviderAnswer,
  { stream, tenant }: { stream: boolean; tenant: string },
  toError: ToError,
) {
  const created = Math.floor(Date.now() / 1000)
  if (status !== 200) return { status, headers, body: convertedError(body, toError) }
  const type = stream ? 'text/event-stream; charset=utf-8' : 'application/json'
  return { status, headers: { ...headers, 'content-type': type }, body: asChat(body, created, toError, tenant) }
}

/** Events or a response, whichever was sent: the label may lie. */
async function* asChat(
  body: AsyncIterable<Uint8Array>,
  created: number,
  toError: ToError,
  tenant: string,
): AsyncGenerator<Buffer> {
  const { shape, body: all } = await shapeOf(body)
  if (shape === 'events') {
    yield* chatChunks(all, created, toError)
    return
  }
  const chat = await converted(responseAsChat, await readAll(all, MAX_BODY_BYTES), { created }, tenant)
  const { error, isNot } = chat.told
  if (isNot) throw new UpstreamError('protocol', `the provider sent something that is not ${isNot}`)
  yield error === undefined ? chat.body : Buffer.from(JSON.stringify({ error: toError(error) }))
}

/** What is not OpenAI's error shape (a proxy's page) stays as it is. */
async function* convertedError(body: AsyncIterable<Uint8Array>, toError: ToError): AsyncGenerator<Buffer> {
  const bytes = await readAll(body, MAX_ERROR_BYTES)
  const json = parseJson(bytes)
  yield isObject(json) && isObject(json.error) ? Buffer.from(JSON.stringify({ error: toError(json.error) })) : bytes
}
