import { isClientsOwn, LITELLM_FIELDS } from './litellm-guards.ts'

/** Values of a field that are let through, or what tells them. */
type Harmless = readonly unknown[] | ((value: unknown) => boolean)

/**
 * Fields, and headers that belong to a format, with which a client would choose the model, the price, the place or the
 * storage at a provider, past what was authorised and reserved; each with the values that change none of these. Left
 * off unless the provider's `pass` names the field. Null is always harmless.
 */
export type Guards = Readonly<Record<string, Harmless>>

const NEVER: readonly unknown[] = []
const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Fields of servers that speak OpenAI's format, by who takes them. */
export const OPENAI_GUARDS = {
  // OpenAI: https://platform.openai.com/docs/api-reference/chat/create
  service_tier: ['auto', 'default'],
  store: [false],
  web_search_options: NEVER,
  // OpenRouter: https://openrouter.ai/docs/api-reference/parameters
  models: NEVER,
  provider: NEVER,
  providers: NEVER,
  route: NEVER,
  plugins: NEVER,
  transforms: NEVER,
  preset: NEVER,
  // Azure OpenAI "on your data": the provider fetches an address under its own identity.
  data_sources: NEVER,
  ...Object.fromEntries(LITELLM_FIELDS.map((field) => [field, NEVER])),
  // Servers that forward.
  api_url: NEVER,
  base_url: NEVER,
  endpoint: NEVER,
  proxy: NEVER,
  webhook_url: NEVER,
  extra_headers: NEVER,
  extra_body: NEVER,
  headers: NEVER,
  metadata: (value) => isPlainObject(value) && isClientsOwn(value),
  webhook: NEVER,
  callback_url: NEVER,
  // What a request is called, which replica takes it, whose cache it reads: vLLM, SGLang, Fireworks.
  request_id: NEVER,
  rid: NEVER,
  data_parallel_rank: NEVER,
  routed_dp_rank: NEVER,
  disagg_prefill_dp_rank: NEVER,
  cache_salt: NEVER,
  extra_key: NEVER,
  prompt_cache_isolation_key: NEVER,
  // vLLM, SGLang, llama.cpp: templates run on the server, and these make answers longer or jump the queue.
  chat_template: NEVER,
  ignore_eos: [false],
  min_tokens: [0],
  priority: [0],
  kv_transfer_params: NEVER,
  lora_path: NEVER,
  id_slot: [-1],
  // Code, weights and addresses of other servers: SGLang, llama.cpp.
  custom_logit_processor: NEVER,
  bootstrap_host: NEVER,
  bootstrap_port: NEVER,
  bootstrap_room: NEVER,
  bootstrap_pair_key: NEVER,
  session_params: NEVER,
  custom_params: NEVER,
  return_hidden_states: [false],
  logits_processors: NEVER,
  vllm_xargs: NEVER,
  ec_transfer_params: NEVER,
  lora: NEVER,
  // How many tokens a picture or a film is: vLLM.
  mm_processor_kwargs: NEVER,
  media_io_kwargs: NEVER,
  // How long answers are, and how many, in words that are not reserved: llama.cpp, TGI, vLLM, Hugging Face.
  n_predict: NEVER,
  n_cmpl: NEVER,
  num_predict: NEVER,
  max_new_tokens: NEVER,
  min_new_tokens: NEVER,
  max_length: NEVER,
  min_length: NEVER,
  max_gen_len: NEVER,
  max_output_tokens: NEVER,
  best_of: [1],
  num_return_sequences: [1],
  num_beams: [1],
  use_beam_search: [false],
  // Ollama's own, Gemini's own: a length, a context, a model's place, what lies in its storage.
  options: NEVER,
  generation_config: NEVER,
  cached_content: NEVER,
  google: (value) => isPlainObject(value) && (value.cached_content ?? value.cachedContent ?? null) === null,
  // What looks at a request, what answers it, and where: Azure, Bedrock, Groq, Together, OpenRouter, Mistral.
  enhancements: NEVER,
  'amazon-bedrock-guardrailConfig': NEVER,
  guardrailConfig: NEVER,
  performanceConfig: NEVER,
  additionalModelRequestFields: NEVER,
  compound_custom: NEVER,
  safety_model: NEVER,
  compliance: NEVER,
  debug: NEVER,
  // Answers, and prompts, that stay at the provider: xAI, OpenAI.
  deferred: [false],
  prompt_cache_retention: ['in_memory', 'in-memory'],
  // Searches that are billed apart: xAI, Qwen, Groq.
  search_parameters: NEVER,
  search_settings: NEVER,
  enable_search: [false],
  search_options: NEVER,
  // Where a model keeps its place in memory: Ollama.
  keep_alive: NEVER,
} satisfies Guards

/** Fields of Anthropic's Messages API: https://platform.claude.com/docs/en/api/messages */
export const ANTHROPIC_GUARDS = {
  service_tier: ['auto', 'standard_only'],
  speed: ['standard'],
  inference_geo: NEVER,
  mcp_servers: NEVER,
  container: NEVER,
  // Left in the body by those who speak to Bedrock, or build requests by hand.
  betas: NEVER,
  anthropic_beta: NEVER,
  // What clears a part of the prompt; compaction asks the model once more.
  context_management: (value) => editsOf(value)?.every(({ type }) => /^clear_/.test(String(type))) ?? false,
  /**
   * Header: of its comma-separated values those below change how the answer is told, or what the client's own tools
   * are. Others open a longer and dearer context, faster and dearer models, storage, or tools that Anthropic runs.
   * https://platform.claude.com/docs/en/api/beta-headers
   */
  'anthropic-beta': [
    'adaptive-thinking-2026-01-28',
    'advanced-tool-use-2025-11-20',
    'claude-code-20250219',
    'computer-use-2025-01-24',
    'computer-use-2025-11-24',
    'context-management-2025-06-27',
    'effort-2025-11-24',
    'fine-grained-tool-streaming-2025-05-14',
    'interleaved-thinking-2025-05-14',
    'model-context-window-exceeded-2025-08-26',
    'output-128k-2025-02-19',
    'pdfs-2024-09-25',
    'prompt-caching-2024-07-31',
    'prompt-caching-scope-2026-01-05',
    'redact-thinking-2026-02-12',
    'structured-outputs-2025-11-13',
    'token-efficient-tools-2025-02-19',
    'tool-examples-2025-10-29',
    'tool-search-tool-2025-10-19',
  ],
} satisfies Guards

function editsOf(value: unknown): { type?: unknown }[] | null {
  const edits = (value as { edits?: unknown } | null)?.edits ?? []
  return Array.isArray(edits) && edits.every((edit) => typeof edit === 'object' && edit !== null) ? edits : null
}

export const isHarmless = (guards: Guards, field: string, value: unknown): boolean => {
  const harmless = Object.hasOwn(guards, field) ? guards[field] : undefined
  if (harmless === undefined || value === null || value === undefined) return true
  return typeof harmless === 'function' ? harmless(value) : harmless.includes(value)
}

/** A kind's guards without those that its configuration opens: a field, or (`field=value`) one value of it. */
export const without = (guards: Guards, pass: readonly string[]): Guards =>
  Object.fromEntries(
    Object.entries(guards)
      .filter(([field]) => !pass.includes(field))
      .map(([field, harmless]) => {
        const values = pass.flatMap((entry) => (entry.startsWith(`${field}=`) ? entry.slice(field.length + 1) : []))
        const isOpened = (value: unknown) => values.includes(String(value)) || isHarmless(guards, field, value)
        return [field, values.length > 0 ? isOpened : harmless]
      }),
  )
