/**
 * Fields with which a client would choose the model, the price, the place or the storage at a provider, past what was
 * authorised and reserved; each with the values that change none of these. Left off unless the provider's `pass` names
 * the field. Null is always harmless.
 */
export type Guards = Readonly<Record<string, readonly unknown[]>>

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
} satisfies Guards

/** A kind's guards without those that its configuration opens. */
export const without = (guards: Guards, pass: readonly string[]): Guards =>
  Object.fromEntries(Object.entries(guards).filter(([field]) => !pass.includes(field)))
