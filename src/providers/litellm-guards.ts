/**
 * What LiteLLM's proxy, and programs that call its library with a request's fields, read in a body of their own affairs
 * (`litellm/types/litellm_params.py`, `proxy/auth/auth_utils.py`, `types/utils.py` of 1.110): deployments, credentials,
 * addresses, prices, guardrails, prompts of the server's, and where conversations are logged.
 */
export const LITELLM_FIELDS = `
  api_base api_key api_version api_type responses_api_version organization custom_llm_provider region_name
  provider_specific_header user_provider_credentials configurable_clientside_auth_params litellm_credential_name
  ssl_verify max_retries use_litellm_proxy use_chat_completions_api use_in_pass_through use_xai_oauth
  allowed_openai_params rust
  fallbacks context_window_fallback_dict content_policy_fallbacks disable_fallbacks model_list model_info
  model_alias_map num_retries retry_policy retry_strategy routing_strategy cooldown_time allowed_model_region
  enable_tag_filtering fastest_response provider_affinity_header search_tool_name silent_model user_config
  router_settings_override specific_deployment deployment_id max_agentic_loops
  guardrails guardrail_config policies disable_global_guardrail disable_global_guardrails
  opted_out_global_guardrails litellm_metadata litellm_params tags
  mock_response mock_tool_calls mock_timeout caching cache cache_key preset_cache_key caching_groups
  enable_prompt_caching
  cost_per_query max_budget budget_duration base_model input_cost_per_token output_cost_per_token
  input_cost_per_second output_cost_per_second input_cost_per_character output_cost_per_character
  cache_read_input_token_cost cache_creation_input_token_cost output_cost_per_reasoning_token tiered_pricing
  prompt_id prompt_version prompt_label prompt_environment prompt_variables litellm_system_prompt
  custom_prompt_dict initial_prompt_value final_prompt_value hf_model_name
  no-log turn_off_message_logging litellm_disabled_callbacks litellm_request_debug logger_fn callbacks
  success_callback failure_callback langfuse_public_key langfuse_secret langfuse_secret_key langfuse_host
  langfuse_prompt_version langsmith_api_key langsmith_project langsmith_base_url langsmith_tenant_id
  gcs_bucket_name gcs_path_service_account humanloop_api_key arize_api_key arize_space_key arize_space_id
  posthog_api_key posthog_api_url wandb_api_key weave_project_id dd_api_key dd_site dd_agent_host dd_agent_port
  newrelic_api_key newrelic_region signoz_ingestion_endpoint signoz_ingestion_key
  aws_region_name aws_access_key_id aws_secret_access_key aws_session_token aws_session_name aws_session_tags
  aws_profile_name aws_role_name aws_external_id aws_web_identity_token aws_sts_endpoint aws_batch_role_arn
  aws_bedrock_runtime_endpoint aws_bedrock_control_plane_endpoint aws_bedrock_project_id aws_workspace_id
  bedrock_tags s3_bucket_name s3_region_name s3_endpoint_url s3_output_bucket_name s3_access_key_id
  s3_secret_access_key sagemaker_base_url deployment_url agentcore_runtime_session_id
  azure_ad_token azure_ad_token_provider azure_username azure_password azure_scope tenant_id client_id client_secret
  vertex_project vertex_location vertex_credentials vertex_ai_project vertex_ai_location vertex_ai_credentials
  workspace_id anthropic_workspace_id anthropic_identity_token anthropic_identity_token_file anthropic_issuer_url
  anthropic_organization_id openai_identity_token_file openai_service_account_id
  token_exchange_endpoint token_exchange_profile token_exchange_scope token_exchange_audience
  github_copilot_auth_type github_copilot_host github_copilot_user_session chatgpt_auth_file nvcf_function_id
`
  .trim()
  .split(/\s+/)

/** Of `metadata`: names that are the proxy's own, whatever stands there; and those that a client's text may have. */
const PROXYS_OWN = new RegExp(
  `^(?:${[
    '_|user_api_|litellm_|standard_logging|applied_|pillar_|disable_|opted_out_|guardrail|turn_off_',
    'policies$|policy_sources$|model_info$|secret_fields$|proxy_server_request$|no-log$',
    '(?:langfuse|langsmith|gcs|humanloop|arize|posthog|wandb|weave|dd|newrelic|signoz|aws|s3|vertex|azure)_',
  ].join('|')})|_cost(?:_|$)`,
)
const EITHERS: ReadonlySet<string> = new Set(
  'tags priority cache headers model_group deployment specific_deployment api_base pricing logging'.split(' '),
)
const isText = (value: unknown) => value === undefined || value === null || typeof value === 'string'

/**
 * Whether what a client notes of a request picks no deployment there, and no check is left out for it: some versions
 * take any text for yes. https://docs.litellm.ai/docs/proxy/tag_routing, https://docs.litellm.ai/docs/proxy/guardrails
 */
export const isClientsOwn = (metadata: Readonly<Record<string, unknown>>): boolean =>
  Object.entries(metadata).every(([name, value]) => {
    if (value === null || value === undefined) return true
    if (EITHERS.has(name)) return isText(value)
    return !PROXYS_OWN.test(name)
  })
