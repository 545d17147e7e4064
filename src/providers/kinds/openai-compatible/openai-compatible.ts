import { type Api, type Candidate, goesByResponses } from '../../../candidates/candidate.ts'
import { UnsupportedRequest } from '../../../errors.ts'
import type { ChatRequest } from '../../../openai/chat.ts'
import { replaceModel, rewrite } from '../../../openai/rewrite.ts'
import { jsonOf } from '../../../openai/serialised.ts'
import { apiKey } from '../../api-key.ts'
import { baseUrl } from '../../base-url.ts'
import { readModelList } from '../../discover.ts'
import { OPENAI_GUARDS, without } from '../../guards.ts'
import { openHttp } from '../../http/open.ts'
import { offProvider } from '../../off-provider.ts'
import type { ListedModel, PassCall, Provider, ProviderAnswer, ProviderCall } from '../../provider.ts'
import { chatAnswer } from './responses/answer.ts'
import { type ResponsesBody, responsesBody } from './responses/request.ts'
import { chatError, inChatWords } from './responses/words.ts'
import type { OpenAICompatibleConfig } from './schema.ts'

/**
 * Whoever speaks OpenAI's chat completions: OpenAI, Azure OpenAI, OpenRouter, Together, Groq, DeepSeek, Mistral,
 * Gemini's compatible endpoint, vLLM, Ollama, llama.cpp. Bytes go through unchanged in both directions, but for `model`
 * and the wish for usage. Models that take the Responses API alone are asked by that, and answer in chat completions.
 */
export function openaiCompatible(name: string, config: OpenAICompatibleConfig): Provider {
  const key = apiKey(config, `the api_key of provider '${name}'`)
  const base = baseUrl(config.base_url, config.query)
  if (typeof base === 'string') return offProvider(name, base)
  const http = openHttp(base.origin, config)
  const fixed = { ...lowerCase(config.headers), 'content-type': 'application/json', 'accept-encoding': 'identity' }

  const rewriting = {
    askUsage: config.stream_usage,
    omit: new Set([...config.omit, ...(config.stream_usage ? [] : ['stream_options'])]),
    rename: new Map(Object.entries(config.rename)),
  }

  const paths: Partial<Record<Api, string>> = {
    chat: config.chat_path,
    responses: config.responses_path,
    completions: config.completions_path,
    embeddings: config.embeddings_path,
  }

  /** A candidate's defaults are fields of chat completions. */
  const bodyFor = (request: ChatRequest, candidate: Candidate, askUsage: boolean) => {
    const { native } = request
    const options = askUsage ? rewriting : { ...rewriting, askUsage }
    if (!native) return rewrite(request, candidate, options)
    const { raw, spans, api } = native
    if (api === 'completions') return rewrite({ ...request, raw, spans }, { model: candidate.model }, options)
    return replaceModel(raw, spans, candidate.model)
  }

  /** What can't be converted goes as it is, where the model takes some chat completions. */
  const asResponses = ({ request, candidate }: ProviderCall): ResponsesBody | null => {
    try {
      return responsesBody(request.body, candidate)
    } catch (error) {
      if (error instanceof UnsupportedRequest && candidate.apis?.has('chat')) return null
      throw error
    }
  }

  /** A chat completion of a model that refuses those: both ways converted. */
  const chatByResponses = async (
    { candidate, request, signal, requestId, tenant = '', traceHeaders }: ProviderCall,
    { body, input }: ResponsesBody,
  ) => {
    for (const field of rewriting.omit) delete body[field]
    const answer = await http.send({
      method: 'POST',
      path: pathOf('responses', candidate),
      headers: { ...headers(requestId, request.stream ? 'text/event-stream' : 'application/json'), ...traceHeaders },
      body: await jsonOf(body, request.raw.length),
      signal,
      secret: key.read(),
    })
    const inWords = inChatWords(input, request.body)
    return chatAnswer(answer, { stream: request.stream, tenant }, (error) => chatError(error, inWords))
  }

  const pathOf = (api: Api, { model }: Candidate): string => {
    const template = paths[api]
    if (template === undefined) throw new UnsupportedRequest('This model does not take such requests.', 'model')
    return `${base.path}${template.replace('{model}', encodeURIComponent(model))}${base.query}`
  }

  const headers = (requestId: string, accept: string): Record<string, string> => {
    const all: Record<string, string> = { ...fixed, accept, 'x-request-id': requestId }
    const secret = config.auth === 'none' ? undefined : key.read()
    if (secret !== undefined && config.auth === 'bearer') all.authorization = `Bearer ${secret}`
    if (secret !== undefined && config.auth === 'api-key') all['api-key'] = secret
    return all
  }

  return {
    name,
    guards: without(OPENAI_GUARDS, config.pass),
    get unavailable() {
      return config.key_required && config.auth !== 'none' ? key.missing : null
    },
    async chat(call: ProviderCall): Promise<ProviderAnswer> {
      const { candidate, request, signal, requestId, askUsage = true, traceHeaders } = call
      const { native } = request
      const converted = goesByResponses(candidate, request) ? asResponses(call) : null
      if (converted) return chatByResponses(call, converted)
      return http.send({
        method: 'POST',
        path: pathOf(native?.api ?? 'chat', candidate),
        headers: { ...headers(requestId, request.stream ? 'text/event-stream' : 'application/json'), ...traceHeaders },
        body: bodyFor(request, candidate, askUsage),
        signal,
        secret: key.read(),
      })
    },
    pass({ method, path, query, headers: sent, body, signal, requestId }: PassCall): Promise<ProviderAnswer> {
      const { 'content-type': _, ...own } = headers(requestId, sent.accept ?? '*/*')
      const together = [base.query.slice(1), query].filter((part) => part !== '').join('&')
      return http.send({
        method,
        path: `${base.path}${path}${together === '' ? '' : `?${together}`}`,
        headers: { ...sent, ...own },
        ...(body.length !== 0 && { body }),
        signal,
        secret: key.read(),
      })
    },
    async listModels(signal: AbortSignal): Promise<ListedModel[]> {
      const answer = await http.send({
        method: 'GET',
        path: `${base.path}/models${base.query}`,
        headers: headers('discover', 'application/json'),
        signal,
      })
      return readModelList(answer)
    },
    close: () => http.close(),
  }
}

const lowerCase = (headers: Record<string, string>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
