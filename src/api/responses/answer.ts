import { randomUUID } from 'node:crypto'
import type { ResponsesConfig } from '../../config/schema.ts'
import type { OpenAIError } from '../../openai/error.ts'
import { parseJson, readError } from '../../openai/error.ts'
import { estimateUsage } from '../../openai/estimate-tokens.ts'
import { isObject } from '../../openai/is-object.ts'
import { converted, LARGE_BYTES } from '../../openai/parse-thread.ts'
import type { ResponsesRequest } from '../../openai/responses/body.ts'
import { responseId } from '../../openai/responses/items.ts'
import { nativeResponse, type ResponsesObserver } from '../../openai/responses/native.ts'
import type { OutputOptions } from '../../openai/responses/output.ts'
import { type NewResource, responseOf, withoutLogprobs } from '../../openai/responses/plain.ts'
import { type ResponseResource, resourceOf } from '../../openai/responses/resource.ts'
import { ResponseStream } from '../../openai/responses/stream.ts'
import type { ThoughtSeal } from '../../openai/responses/thoughts.ts'
import type { Tools } from '../../openai/responses/tools.ts'
import { responsesErrorBody } from '../../openai/responses/words.ts'
import { jsonOf } from '../../openai/serialised.ts'
import type { RequestContext } from '../../pipeline/context.ts'
import type { Principal } from '../../pipeline/principal.ts'
import type { Forwarded, PlainAnswer, StreamAnswer } from '../../providers/relay/answer.ts'
import type { AnswerWriter, StreamWriter } from '../../providers/relay/writer.ts'
import type { WholeConversation } from './conversation.ts'
import type { ResponsesDeps } from './deps.ts'
import { foreignIds, isKeepable, packKept, withIds } from './kept.ts'

const DAY_MS = 86_400_000

/** A request, as far as its answer must know it. */
export interface Asked {
  request: ResponsesRequest
  whole: WholeConversation
  tools: Tools
  thoughts: ThoughtSeal
  config: ResponsesConfig
  context: RequestContext
  principal: Principal
  turnKey: string
}

/** Tells answers in the Responses format, and keeps them first. */
export function answerWriter(deps: ResponsesDeps, asked: Asked): AnswerWriter {
  const keep = (response: ResponseResource, answer: Forwarded) => keepResponse(deps, asked, response, answer)
  return {
    async plain(answer, tenant) {
      if (answer.status >= 400) return refusalOf(answer)
      const { native } = answer.request
      if (native && !isKept(asked)) return answer.body
      const { json, logprobs } = await read(answer, tenant)
      if (native) {
        const response = nativeResponse(json)
        if (response) await keep(response, answer)
        return answer.body
      }
      const response = responseOf(
        isObject(json) ? json : {},
        creator(asked, answer),
        outputOptions(asked, answer),
        usage(answer),
      )
      if (response.store) response.store = await keep(response, answer)
      return logprobs ? withLogprobs(response, logprobs) : jsonOf({ ...response }, answer.body.length)
    },
    stream(answer) {
      const { observer } = answer
      if (answer.request.native) return nativeStream(observer as ResponsesObserver, (made) => keep(made, answer))
      const stream = new ResponseStream({
        ...outputOptions(asked, answer),
        create: creator(asked, answer),
        usage: () => usageOfStream(answer),
        finishReason: () => observer.finishReason,
        keep: (response) => keep(response, answer),
      })
      return stream
    },
  }
}

/** A refusal has its shape already; one of a converted request names fields that the client did not write. */
function refusalOf({ status, body, request }: PlainAnswer): Buffer {
  return request.native ? body : Buffer.from(responsesErrorBody(readError(status, parseJson(body))))
}

/** Bytes through; what is whole is kept before the client can see that it is. */
function nativeStream(
  observer: ResponsesObserver,
  keep: (response: ResponseResource) => Promise<boolean>,
): StreamWriter {
  return {
    push: (bytes) => bytes,
    async end() {
      if (observer.response) await keep(observer.response)
      return null
    },
    fail: (error: OpenAIError) => observer.failure(error),
  }
}

const creator =
  ({ request, tools, context, config }: Asked, { candidate }: Forwarded): NewResource =>
  (head) =>
    resourceOf(request.body, tools, candidate.reasoning !== false, {
      ...head,
      id: responseId(context.requestId),
      model: head.model || candidate.model,
      store: isKept({ config, request }),
    })

const outputOptions = ({ tools, thoughts, context }: Asked, { candidate }: Forwarded): OutputOptions => ({
  response: responseId(context.requestId),
  named: tools.named,
  seal: (thought) => thoughts.seal(candidate.name, thought),
})

const usage = ({ usage, request, outputChars }: PlainAnswer) =>
  usage ?? estimateUsage(request.promptTokens, outputChars)

const usageOfStream = ({ observer, request }: StreamAnswer) =>
  observer.usage ?? estimateUsage(request.promptTokens, observer.outputBytes, observer.outputEvents)

/** A large answer is read on the thread, which has its bytes: they come back. */
async function read(answer: PlainAnswer, tenant: string): Promise<{ json: unknown; logprobs: Uint8Array | null }> {
  if (answer.body.length <= LARGE_BYTES) return { json: parseJson(answer.body), logprobs: null }
  const { body, told } = await converted(withoutLogprobs, answer.body, null, tenant)
  answer.body = body
  return told
}

/** The response as JSON. @param logprobs of its text, as JSON: millions of values, which are not parsed again */
async function withLogprobs(response: ResponseResource, logprobs: Uint8Array): Promise<Buffer> {
  const mark = randomUUID()
  const said = response.output.find(({ type }) => type === 'message')?.content
  for (const part of Array.isArray(said) ? said : []) if (part.type === 'output_text') part.logprobs = [mark]
  const json = await jsonOf({ ...response }, LARGE_BYTES + 1)
  const at = json.indexOf(`["${mark}"]`)
  if (at < 0) return json
  return Buffer.concat([json.subarray(0, at), logprobs, json.subarray(at + mark.length + 4)])
}

const isKept = ({ config, request }: Pick<Asked, 'config' | 'request'>) =>
  config.store === 'on' && request.body.store !== false

/** False where it is not kept: it was not to be, or could not. */
async function keepResponse(
  { responses, seal, isErased, onStoreError }: ResponsesDeps,
  { whole, config, context, principal, turnKey, request }: Asked,
  response: ResponseResource,
  { candidate, request: { native } }: Forwarded,
): Promise<boolean> {
  const { user } = principal
  const tenant = principal.tenant.name
  if (!isKept({ config, request }) || !isKeepable(response.id)) return false
  if (isErased(tenant, user, context.ts)) return false
  const input = withIds(whole.own, responseId(context.requestId))
  const kept = { response, input, candidate: candidate.name, native: native !== undefined, turnKey }
  try {
    const row = {
      id: response.id,
      ts: context.ts,
      chain: whole.chain,
      items: foreignIds(kept),
      body: await packKept(kept, { responses, seal, tenant, user }),
    }
    return await responses.save(tenant, user, row, { ttlMs: config.ttl_days * DAY_MS, maxBytes: config.max_bytes })
  } catch {
    onStoreError('saveResponse')
    return false
  }
}
