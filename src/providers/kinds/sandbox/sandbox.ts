import { setImmediate as nextTurn } from 'node:timers/promises'
import { DONE_FRAME, frame } from '../../../openai/sse.ts'
import { type Provider, type ProviderAnswer, type ProviderCall, UpstreamError } from '../../provider.ts'
import { answer } from './answer.ts'
import { type CompletionHead, completion, completionChunks, countUsage, finish } from './completion.ts'
import { PERSONAS } from './personas.ts'
import type { SandboxConfig } from './schema.ts'

const MAX_CHOICES = 16

/**
 * Answers without any key, at once and always the same, each model in its own style: for the first minute, for demos
 * and tests. Every answer is marked `[sandbox …]` and has `system_fingerprint: "sandbox"`.
 */
export function sandbox(name: string, { enabled }: SandboxConfig): Provider {
  return {
    name,
    unavailable: enabled === false ? 'it is switched off' : null,
    async chat({ candidate, request, signal, requestId }: ProviderCall): Promise<ProviderAnswer> {
      const { body } = request
      const persona = PERSONAS.find(({ model }) => model === candidate.model)
      if (!persona) return refuse(404, `The sandbox has no model '${candidate.model}'.`, 'model', 'model_not_found')
      const n = body.n ?? 1
      if (n > MAX_CHOICES) return refuse(400, `Invalid 'n': expected at most ${MAX_CHOICES}.`, 'n', null)
      const choices = Array.from({ length: n }, (_, index) => finish(answer(body, persona, index), body))
      const usage = countUsage(body, choices)
      const head: CompletionHead = {
        id: `chatcmpl-sandbox-${requestId}`,
        created: Math.floor(Date.now() / 1000),
        model: persona.model,
        system_fingerprint: 'sandbox',
      }
      if (!request.stream)
        return respond(200, 'application/json', one(Buffer.from(JSON.stringify(completion(head, choices, usage)))))
      return respond(200, 'text/event-stream; charset=utf-8', stream(completionChunks(head, choices, usage), signal))
    },
    close: async () => {},
  }
}

async function* stream(chunks: Iterable<unknown>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) {
    if (signal.aborted)
      throw signal.reason instanceof UpstreamError
        ? signal.reason
        : new UpstreamError('aborted', 'the request was aborted')
    yield frame(chunk)
    await nextTurn()
  }
  yield DONE_FRAME
}

async function* one(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes
}

const respond = (status: number, contentType: string, body: AsyncIterable<Uint8Array>): ProviderAnswer => ({
  status,
  headers: { 'content-type': contentType },
  body,
})

const refuse = (status: number, message: string, param: string, code: string | null) =>
  respond(
    status,
    'application/json',
    one(Buffer.from(JSON.stringify({ error: { message, type: 'invalid_request_error', param, code } }))),
  )
