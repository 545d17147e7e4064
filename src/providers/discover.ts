import { posix } from 'node:path'
import type { CandidateConfig } from '../candidates/schema.ts'
import type { Config } from '../config/schema.ts'
import { parseJson } from '../openai/error.ts'
import { causeOf } from '../runtime/error-cause.ts'
import { fairTimeout } from '../runtime/fair-timer.ts'
import { readAll } from './http/read-all.ts'
import { isDiscovering } from './kind-schemas.ts'
import { type ListedModel, type Provider, type ProviderAnswer, UpstreamError } from './provider.ts'

const MAX_LIST_BYTES = 4 * 1024 * 1024
const LIST_TIMEOUT_MS = 2_000

export interface Discovered {
  candidates: CandidateConfig[]
  /** Provider -> why its models could not be listed. */
  failed: Map<string, string>
}

/** Asks the providers that list their models, and makes candidates of them, named `<provider>/<model>`. */
export async function discover(config: Config, providers: ReadonlyMap<string, Provider>): Promise<Discovered> {
  const failed = new Map<string, string>()
  const lists = await Promise.all(
    Object.entries(config.providers).map(async ([name, entry]) => {
      const provider = providers.get(name)
      if (!isDiscovering(entry) || !provider?.listModels || provider.unavailable) return []
      try {
        const models = await provider.listModels(fairTimeout(LIST_TIMEOUT_MS))
        return models.map((model) => candidateOf(name, model))
      } catch (error) {
        failed.set(name, whyNot(error))
        return []
      }
    }),
  )
  return { candidates: lists.flat(), failed }
}

function whyNot(error: unknown): string {
  if (error instanceof UpstreamError && error.fault === 'protocol') return error.message.replace('the provider', 'it')
  return `it did not list its models: ${causeOf(error)}`
}

function candidateOf(provider: string, { id, contextWindow }: ListedModel): CandidateConfig {
  return {
    name: `${provider}/${shortName(id)}`,
    provider,
    model: id,
    price: { input: 0, output: 0 },
    ...(contextWindow !== undefined && { context_window: contextWindow }),
    groups: ['default', provider],
    explore: true,
    open_weights: true,
    benchmarks: {},
    ...sizeOf(id),
  }
}

/** llama.cpp names a model by its file. */
const shortName = (id: string) =>
  (id.endsWith('.gguf') ? posix.basename(id, '.gguf') : id).replace(/[^A-Za-z0-9._:/@-]/g, '-').slice(0, 96)

/** "llama3.1:8b", "Qwen2.5-0.5B-Instruct". */
function sizeOf(id: string): { size_b?: number } {
  const match = /(?:^|[-_:/])(\d+(?:\.\d+)?)(b|m)(?=$|[-_:./])/i.exec(id)
  if (!match?.[1]) return {}
  return { size_b: Number(match[1]) / (match[2]?.toLowerCase() === 'm' ? 1000 : 1) }
}

/**
 * The answer of `GET /models`: OpenAI's list, with vLLM's `max_model_len` and llama.cpp's `meta.n_ctx_train`. Embedding
 * models are left out.
 */
export async function readModelList({ status, body }: ProviderAnswer): Promise<ListedModel[]> {
  const json = parseJson(await readAll(body, MAX_LIST_BYTES))
  const data = typeof json === 'object' && json !== null && 'data' in json ? json.data : null
  if (status !== 200 || !Array.isArray(data)) {
    throw new UpstreamError('protocol', `the provider did not list its models (status ${status})`)
  }
  return data.flatMap((entry): ListedModel[] => {
    if (typeof entry?.id !== 'string' || /embed|rerank|whisper|tts/i.test(entry.id)) return []
    const window = entry.max_model_len ?? entry.meta?.n_ctx ?? entry.meta?.n_ctx_train
    return [{ id: entry.id, ...(Number.isInteger(window) && window > 0 && { contextWindow: window as number }) }]
  })
}
