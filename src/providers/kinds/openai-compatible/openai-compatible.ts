import { replaceModel, rewrite } from '../../../openai/rewrite.ts'
import { apiKey } from '../../api-key.ts'
import { baseUrl } from '../../base-url.ts'
import { readModelList } from '../../discover.ts'
import { HttpClient } from '../../http/client.ts'
import { offProvider } from '../../off-provider.ts'
import type { ListedModel, Provider, ProviderAnswer, ProviderCall } from '../../provider.ts'
import type { OpenAICompatibleConfig } from './schema.ts'

/**
 * Whoever speaks OpenAI's chat completions: OpenAI, Azure OpenAI, OpenRouter, Together, Groq, DeepSeek, Mistral,
 * Gemini's compatible endpoint, vLLM, Ollama, llama.cpp. Bytes go through unchanged in both directions, but for `model`
 * and the wish for usage.
 */
export function openaiCompatible(name: string, config: OpenAICompatibleConfig): Provider {
  const key = apiKey(config, `the api_key of provider '${name}'`)
  const base = baseUrl(config.base_url, config.query)
  if (typeof base === 'string') return offProvider(name, base)
  const http = new HttpClient({
    origin: base.origin,
    connectTimeoutMs: config.connect_timeout_ms,
    maxConnections: config.max_connections,
  })
  const fixed = { ...lowerCase(config.headers), 'content-type': 'application/json', 'accept-encoding': 'identity' }

  const rewriting = {
    askUsage: config.stream_usage,
    omit: new Set([...config.omit, ...(config.stream_usage ? [] : ['stream_options'])]),
    rename: new Map(Object.entries(config.rename)),
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
    get unavailable() {
      return config.key_required && config.auth !== 'none' ? key.missing : null
    },
    chat({ candidate, request, signal, requestId, askUsage = true }: ProviderCall): Promise<ProviderAnswer> {
      const { native } = request
      const template = native ? config.responses_path : config.chat_path
      const path = template.replace('{model}', encodeURIComponent(candidate.model))
      return http.send({
        method: 'POST',
        path: `${base.path}${path}${base.query}`,
        headers: headers(requestId, request.stream ? 'text/event-stream' : 'application/json'),
        body: native
          ? replaceModel(native.raw, native.spans, candidate.model)
          : rewrite(request, candidate, askUsage ? rewriting : { ...rewriting, askUsage }),
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
