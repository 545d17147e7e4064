import { z } from 'zod'
import type { Candidate } from '../candidates/candidate.ts'
import { UnsupportedRequest } from '../errors.ts'
import { answerText } from '../openai/answer-text.ts'
import type { ChatRequest, NativeRequest, Span } from '../openai/chat.ts'
import { errorBody, errorFrame, parseJson } from '../openai/error.ts'
import { isObject } from '../openai/is-object.ts'
import { chatOf, fieldError } from '../openai/parse-chat.ts'
import { converted, LARGE_BYTES, readLargeBy } from '../openai/parse-thread.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import { type Quoted, quotedIn } from '../openai/serialised.ts'
import { SseObserver } from '../openai/sse-observer.ts'
import { chatAsText, factsOfText, factsOfTextAnswer, TextStream } from '../openai/text-completion.ts'
import type { ChatCall, Endpoint } from '../pipeline/endpoint.ts'
import type { AnswerWriter } from '../providers/relay/writer.ts'

const number = z.custom<number>((value) => typeof value === 'number', 'Expected number')
const schema = z.looseObject({
  model: z.string().min(1).max(256),
  prompt: z.union([
    z.string(),
    z.array(z.string()).min(1),
    z.array(z.number()).min(1),
    z.array(z.array(z.number())).min(1),
  ]),
  suffix: z.string().nullish(),
  max_tokens: z.number().int().nonnegative().nullish(),
  n: z.number().int().positive().nullish(),
  best_of: z.number().int().positive().nullish(),
  echo: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  temperature: number.nullish(),
  top_p: number.nullish(),
  user: z.string().nullish(),
})

type CompletionsBody = z.output<typeof schema>

/**
 * `POST /v1/completions`: OpenAI's legacy format. A candidate whose provider speaks it gets the client's bytes; the
 * others are asked, as a chat, to go on with the text.
 */
export const completionsEndpoint: Endpoint = {
  name: 'completions',
  read(raw, model) {
    const { json, spans } = parseRawBody(raw)
    if (model !== undefined) json.model = model
    const parsed = schema.safeParse(json)
    if (!parsed.success) throw fieldError(parsed.error.issues[0])
    const body = parsed.data
    return {
      raw,
      names: { model: body.model, user: body.user },
      toChat() {
        const call = (quoted?: Quoted): ChatCall => ({
          request: chatRequest(body, { raw, spans }, chat, quoted),
          writer: () => writerFor(body),
        })
        const chat = asChat(body)
        return raw.length > LARGE_BYTES ? quotedIn(chat).then(call) : call()
      },
    }
  },
  errorBody,
  answerText: (body, stream) => answerText(body, stream) || textOf(body),
}

/** The texts of a request; null where it is one, or several, of tokens, which only its own model can read. */
function textsOf({ prompt }: CompletionsBody): string[] | null {
  const all = Array.isArray(prompt) ? prompt : [prompt]
  return all.every((part) => typeof part === 'string') ? (all as string[]) : null
}

const promptsIn = (prompt: CompletionsBody['prompt']) =>
  Array.isArray(prompt) && typeof prompt[0] !== 'number' ? prompt.length : 1

const tokensIn = (prompt: CompletionsBody['prompt']) => (Array.isArray(prompt) ? prompt.flat().length : 0)

const GO_ON =
  'Continue the text of the user. Answer with the continuation alone: no comment, no repetition of the text.'
const FILL_IN =
  'The user gives the text before and after a gap. Answer with the text that belongs into the gap, and nothing else.'

function asChat(body: CompletionsBody): Record<string, unknown> {
  const prompt = textsOf(body)?.join('\n') ?? ''
  return {
    model: body.model,
    messages: body.suffix
      ? [
          { role: 'system', content: FILL_IN },
          { role: 'user', content: `Before the gap:\n${prompt}\n\nAfter the gap:\n${body.suffix}` },
        ]
      : [
          { role: 'system', content: GO_ON },
          { role: 'user', content: prompt },
        ],
    ...given(body, ['n', 'stream', 'stream_options', 'stop', 'temperature', 'top_p', 'user', 'seed']),
    ...(body.max_tokens ? { max_tokens: body.max_tokens } : {}),
  }
}

/** @param quoted what is known of its strings */
function chatRequest(
  body: CompletionsBody,
  { raw, spans }: { raw: Buffer; spans: ReadonlyMap<string, Span> },
  chat: Record<string, unknown>,
  quoted: Quoted | undefined,
): ChatRequest {
  const texts = textsOf(body)
  const asked = chatOf(chat, quoted)
  const request: ChatRequest = {
    ...asked,
    promptTokens: asked.promptTokens + (texts === null ? tokensIn(body.prompt) : 0),
    // A provider writes as many for each prompt, and bills those, too, of which the best are told.
    answers: promptsIn(body.prompt) * Math.max(body.n ?? 1, body.best_of ?? 1),
    format: 'completions',
  }
  const dropped = ['best_of', 'logprobs', 'logit_bias'].filter((field) => (body[field] ?? null) !== null)
  return {
    ...request,
    dropped,
    forCandidate(candidate: Candidate): ChatRequest {
      if (candidate.apis?.has('completions'))
        return { ...request, dropped: [], native: nativeRequest(request, raw, spans) }
      if (texts === null) throw new UnsupportedRequest('This model does not take prompts of tokens.', 'prompt')
      if (texts.length > 1) throw new UnsupportedRequest('This model takes one prompt at a time.', 'prompt')
      return { ...request, dropped }
    },
  }
}

const given = (body: CompletionsBody, fields: readonly string[]) =>
  Object.fromEntries(fields.flatMap((field) => ((body[field] ?? null) === null ? [] : [[field, body[field]]])))

function nativeRequest({ wantsUsage }: ChatRequest, raw: Buffer, spans: ReadonlyMap<string, Span>): NativeRequest {
  return {
    api: 'completions',
    raw,
    spans,
    observe: () => new SseObserver({ dropUsage: !wantsUsage }),
    read: factsOfText,
    readLarge: readLargeBy(factsOfTextAnswer),
  }
}

function writerFor(body: CompletionsBody): AnswerWriter {
  const before = body.echo ? (textsOf(body)?.join('') ?? '') : ''
  return {
    async plain({ request, status, body: bytes }, tenant) {
      if (status >= 400 || request.native) return bytes
      return (await converted(chatAsText, bytes, { before }, tenant)).body
    },
    stream({ request, observer }) {
      if (!request.native) return new TextStream(before)
      const isTold = () => observer.error !== null && observer.errorUntold !== true
      return { push: (bytes) => bytes, end: () => null, fail: (error) => (isTold() ? null : errorFrame(error)) }
    },
  }
}

function textOf(body: Buffer): string {
  const json = parseJson(body)
  const [first] = isObject(json) && Array.isArray(json.choices) ? json.choices : []
  return isObject(first) && typeof first.text === 'string' ? first.text : ''
}
