import { invalidRequest } from '../errors.ts'

/** Fields that decide what is authorised, reserved, learned or sent on: of a request, its messages and their parts. */
const KNOWN: ReadonlySet<string> = new Set(
  `model messages stream stream_options include_usage temperature top_p top_k min_p n best_of stop stop_sequences
  max_tokens max_completion_tokens max_output_tokens max_tool_calls presence_penalty frequency_penalty
  repetition_penalty seed logprobs top_logprobs logit_bias tools tool_choice functions function_call
  parallel_tool_calls response_format modalities audio user safety_identifier reasoning reasoning_effort effort
  verbosity text format thinking budget_tokens output_config prediction metadata store service_tier speed
  web_search_options input instructions previous_response_id conversation include background truncation prompt suffix
  echo system dimensions encoding_format models provider providers route plugins transforms preset data_sources
  api_base api_key api_version base_url fallbacks model_list extra_body extra_headers chat_template ignore_eos
  min_tokens mcp_servers container inference_geo
  role content name type refusal tool_calls tool_call_id function arguments image_url input_audio file file_id file_data
  url detail data source media_type tool_use_id call_id output custom`.split(/\s+/),
)

/**
 * Fields of a request alone that are left off (`providers/guards.ts`): no look-alike of theirs may pass, either. Not
 * `tenant_id` and `client_id`: their one reader takes no other spelling, and clients name things of their own so.
 */
const GUARDED: ReadonlySet<string> = new Set(
  `api_url endpoint proxy webhook_url api_type organization custom_llm_provider context_window_fallback_dict
  content_policy_fallbacks headers guardrails mock_response mock_tool_calls mock_timeout num_retries caching cache
  user_config router_settings_override disable_fallbacks specific_deployment deployment_id litellm_credential_name
  litellm_metadata litellm_params input_cost_per_token output_cost_per_token input_cost_per_second
  output_cost_per_second base_model hf_model_name prompt_id tags region_name aws_region_name aws_access_key_id
  aws_secret_access_key aws_session_token aws_session_name aws_profile_name aws_role_name aws_web_identity_token
  aws_sts_endpoint aws_bedrock_runtime_endpoint azure_ad_token client_secret vertex_project
  vertex_location vertex_credentials priority kv_transfer_params lora_path id_slot custom_logit_processor
  bootstrap_host bootstrap_port bootstrap_room session_params lora mm_processor_kwargs media_io_kwargs n_predict
  n_cmpl num_predict max_new_tokens min_new_tokens max_length min_length max_gen_len num_return_sequences
  num_beams use_beam_search options generation_config cached_content deferred prompt_cache_retention
  search_parameters search_settings enable_search search_options keep_alive betas anthropic_beta
  context_management`.split(/\s+/),
)
const OF_REQUESTS: ReadonlySet<string> = new Set([...KNOWN, ...GUARDED])

const foldedOf = (key: string) => key.toUpperCase().toLowerCase().replace(/[-_]/g, '')
const FOLDED: ReadonlySet<string> = new Set([...KNOWN].map(foldedOf))
const FOLDED_OF_REQUESTS: ReadonlySet<string> = new Set([...OF_REQUESTS].map(foldedOf))
/** No known field is longer; two letters may fold to one. */
const MAX_CHARS = 64

/** Objects below a request, and lists of them, whose fields are looked at, too; what lies deeper is the client's. */
const BELOW: ReadonlySet<string> = new Set(
  'messages input system stream_options reasoning thinking output_config'.split(' '),
)
const WITHIN: ReadonlySet<string> = new Set('content tool_calls function image_url input_audio file source'.split(' '))

/**
 * Refuses fields that are a known one but for case or separators. Go's encoding/json takes `Model`, and `max_toKens`
 * with U+212A, for the field itself, and the last one wins; encoding/json/v2 can leave out `-` and `_`; protocol
 * buffers take `maxTokens` for `max_tokens`. So a provider might read another value than the one that was authorised.
 * Tools' schemas and arguments are not looked at.
 *
 * @throws GatewayError 400 with `param` naming the field
 */
export function refuseLookAlikes(json: Record<string, unknown>): void {
  const path = lookAlikeIn(json, BELOW, OF_REQUESTS, FOLDED_OF_REQUESTS)
  if (path === null) return
  const shown = path.replace(/[^\x20-\x7e]/g, '?')
  throw invalidRequest(`Unknown field '${shown}': it differs from a known one only by case or separators.`, shown)
}

/** Path of the first, or null. */
function lookAlikeIn(
  object: Record<string, unknown>,
  below: ReadonlySet<string>,
  known = KNOWN,
  folded = FOLDED,
): string | null {
  for (const key in object) {
    if (!known.has(key)) {
      if (key.length <= MAX_CHARS && folded.has(foldedOf(key))) return key
      continue
    }
    const value = object[key]
    if (typeof value !== 'object' || value === null || !below.has(key)) continue
    const found = Array.isArray(value) ? lookAlikeAmong(value) : lookAlikeIn(value as Record<string, unknown>, WITHIN)
    if (found !== null) return `${key}.${found}`
  }
  return null
}

function lookAlikeAmong(list: readonly unknown[]): string | null {
  for (let i = 0; i < list.length; i++) {
    const item = list[i]
    if (typeof item !== 'object' || item === null || Array.isArray(item)) continue
    const found = lookAlikeIn(item as Record<string, unknown>, WITHIN)
    if (found !== null) return `${i}.${found}`
  }
  return null
}
