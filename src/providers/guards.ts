/** Values of a field that are let through, or what tells them. */
type Harmless = readonly unknown[] | ((value: unknown) => boolean)

/**
 * Fields, and headers that belong to a format, with which a client would choose the model, the price, the place or the
 * storage at a provider, past what was authorised and reserved; each with the values that change none of these. Left
 * off unless the provider's `pass` names the field. Null is always harmless.
 */
export type Guards = Readonly<Record<string, Harmless>>

const NEVER: readonly unknown[] = []

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
  // LiteLLM's proxy, and servers that forward.
  api_base: NEVER,
  api_url: NEVER,
  base_url: NEVER,
  endpoint: NEVER,
  proxy: NEVER,
  webhook_url: NEVER,
  api_key: NEVER,
  api_version: NEVER,
  api_type: NEVER,
  organization: NEVER,
  custom_llm_provider: NEVER,
  fallbacks: NEVER,
  context_window_fallback_dict: NEVER,
  content_policy_fallbacks: NEVER,
  model_list: NEVER,
  extra_headers: NEVER,
  extra_body: NEVER,
  headers: NEVER,
  guardrails: NEVER,
  mock_response: NEVER,
  num_retries: NEVER,
  caching: NEVER,
  cache: NEVER,
  // vLLM, SGLang, llama.cpp: templates run on the server, and these make answers longer or jump the queue.
  chat_template: NEVER,
  ignore_eos: [false],
  min_tokens: [0],
  priority: [0],
  kv_transfer_params: NEVER,
  lora_path: NEVER,
  id_slot: [-1],
  // Searches that are billed apart: xAI, Qwen.
  search_parameters: NEVER,
  enable_search: [false],
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
