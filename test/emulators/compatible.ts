import { openaiAnswer, openaiEvents } from './answers.ts'
import type { Body, Emulator, Refusal } from './emulator.ts'
import {
  answeredCalls,
  callsOf,
  has,
  hasCustom,
  isBlank,
  isCommon,
  letters,
  messagesOf,
  openaiError,
  partIn,
  roleIn,
  someNode,
  toolsOf,
  unknownFields,
  unknownMessageFields,
  without,
} from './rules.ts'

const inLoop = (body: Body) => messagesOf(body).at(-1)?.role === 'tool'
const loopOf = (body: Body) => {
  const messages = messagesOf(body)
  return messages
    .slice(messages.findLastIndex(({ role }) => role === 'user') + 1)
    .filter((message) => callsOf(message).length > 0)
}

const mistral422 = (loc: (string | number)[]): Refusal => ({
  status: 422,
  body: {
    object: 'error',
    message: {
      detail: [{ type: 'extra_forbidden', loc: ['body', ...loc], msg: 'Extra inputs are not permitted', input: null }],
    },
    type: 'invalid_request_error',
    param: null,
    code: null,
  },
})
const mistral400 = (message: string): Refusal => ({
  status: 400,
  body: { object: 'error', message, type: 'invalid_request_message_order', param: null, code: '3230' },
})

/** api.mistral.ai */
export const mistral: Emulator = {
  name: 'mistral',
  base: '/v1',
  path: '/chat/completions',
  rules: [
    unknownFields(
      [
        'model',
        'messages',
        'stream',
        'temperature',
        'top_p',
        'max_tokens',
        'stop',
        'random_seed',
        'response_format',
        'tools',
        'tool_choice',
        'presence_penalty',
        'frequency_penalty',
        'parallel_tool_calls',
        'prompt_mode',
        'safe_prompt',
      ],
      'report: eca-dev/eca#231, OpenHands-CLI#83, crewAI#60: extra inputs are not permitted (store, metadata, n, max_completion_tokens, user …)',
      (field) => mistral422([field]),
    ),
    unknownMessageFields(
      ['role', 'content', 'tool_calls', 'tool_call_id', 'name', 'prefix'],
      'report: freellmapi#1070, hermes-agent#70233: reasoning_content in messages',
      (field, index, role) => mistral422(['messages', index, role, field]),
    ),
    {
      source: 'docs: mistralai/platform-docs-public, openapi.yaml: roles are system, user, assistant and tool',
      check: (body) =>
        roleIn(body, 'developer', 'function') && {
          status: 422,
          body: {
            object: 'error',
            message: {
              detail: [
                {
                  type: 'union_tag_invalid',
                  loc: ['body', 'messages', 0],
                  msg: "Input tag 'developer' found using 'role' does not match any of the expected tags: 'system', 'user', 'assistant', 'tool'",
                },
              ],
            },
            type: 'invalid_request_error',
            param: null,
            code: null,
          },
        },
    },
    {
      source: 'report: eca#233, nearai/ironclaw#1241, langchain#24668: ids of tool calls are nine letters and digits',
      check: (body) => {
        const odd = messagesOf(body)
          .flatMap(callsOf)
          .find((call) => !/^[a-zA-Z0-9]{9}$/.test(call.id))
        return (
          odd && {
            status: 400,
            body: {
              object: 'error',
              message: `Tool call id was ${odd.id} but must be a-z, A-Z, 0-9, with a length of 9.`,
              type: 'invalid_function_call',
              param: null,
              code: '3280',
            },
          }
        )
      },
    },
    {
      source:
        'report: NousResearch/hermes-agent#20154; code: mistralai/mistral-common protocol/instruct/validator.py: which role may follow which',
      check: (body) => {
        const after: Record<string, string[]> = {
          system: ['system', 'user', 'assistant'],
          user: ['user', 'assistant', 'system'],
          assistant: ['assistant', 'user', 'tool'],
          tool: ['assistant', 'tool'],
        }
        const messages = messagesOf(body)
        const odd = messages.findIndex(({ role }, i) => i > 0 && !after[messages[i - 1]?.role ?? '']?.includes(role))
        return odd > 0 && mistral400(`Unexpected role '${messages[odd]?.role}' after role '${messages[odd - 1]?.role}'`)
      },
    },
    {
      source: 'report: OpenHands/OpenHands#8685, solbrowse/extension#16: an assistant’s message that says nothing',
      check: (body) =>
        messagesOf(body).some(
          (message) => message.role === 'assistant' && isBlank(message) && callsOf(message).length === 0,
        ) && mistral400('Assistant message must have either content or tool_calls, but not none.'),
    },
    {
      source: 'docs: mistralai/platform-docs-public, openapi.yaml (ToolTypes, ToolChoiceEnum)',
      check: (body) => (hasCustom(body) || !isCommon(body)) && mistral422(['tool_choice']),
    },
    answeredCalls('code: mistralai/mistral-common protocol/instruct/validator.py: as many results as calls', () =>
      mistral400('Not the same number of function calls and responses'),
    ),
    {
      source: 'report: crewAIInc/crewAI#2194, huggingface/smolagents#757: the last message is the user’s or a tool’s',
      check: (body) =>
        messagesOf(body).at(-1)?.role === 'assistant' &&
        messagesOf(body).at(-1)?.prefix !== true &&
        mistral400('Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant'),
    },
    {
      source: 'docs: mistralai/platform-docs-public, openapi.yaml: temperature is at most 1.5',
      check: (body) => Number(body.temperature ?? 0) > 1.5 && mistral422(['temperature']),
    },
    {
      source:
        'docs: mistralai/platform-docs-public, openapi.yaml (ContentChunk): files and sound are told otherwise than OpenAI does',
      check: (body) => partIn(body, 'file', 'input_audio', 'refusal') && mistral422(['messages', 0, 'content']),
    },
  ],
  answer: openaiAnswer(() => letters(9)),
  events: openaiEvents(() => letters(9), 'always'),
  done: true,
}

const groqModels: Record<string, number> = { 'llama-3.1-8b-instant': 8192, 'llama-3.3-70b-versatile': 32768 }

/** api.groq.com */
export const groq: Emulator = {
  name: 'groq',
  base: '/openai/v1',
  path: '/chat/completions',
  rules: [
    {
      source: 'report: auto_ai_router#171: models that are gone; inferred: which ones',
      check: ({ model }) =>
        /mixtral|gemma-7b|llama3-/.test(model) &&
        openaiError(
          400,
          `The model \`${model}\` has been decommissioned and is no longer supported.`,
          null,
          'model_decommissioned',
        ),
    },
    unknownFields(
      without(
        'prediction',
        'verbosity',
        'prompt_cache_key',
        'prompt_cache_retention',
        'safety_identifier',
        'store',
        'modalities',
        'audio',
        'moderation',
      ),
      'docs: groq/groq-python, completion_create_params.py (made of the API’s own specification)',
      (field) => openaiError(400, `property '${field}' is unsupported`),
    ),
    {
      source:
        'docs: console.groq.com/docs/openai: logprobs, logit_bias, top_logprobs, n other than 1, messages[].name; report: langchain#40590',
      check: (body) => {
        const odd = ['logprobs', 'logit_bias', 'top_logprobs'].find((field) => has(body, field))
        if (odd) return openaiError(400, `property '${odd}' is unsupported`)
        if (has(body, 'n') && body.n !== 1) return openaiError(400, "'n' : number must be at most 1")
        return null
      },
    },
    unknownMessageFields(
      ['role', 'content', 'tool_calls', 'tool_call_id'],
      'report: freellmapi#1070, req_llm#772, crush#1590, litellm#30835: other fields of messages',
      (field, index, role) =>
        openaiError(
          400,
          `'messages.${index}' : for 'role:${role}' the following must be satisfied[('messages.${index}' : property '${field}' is unsupported)]`,
        ),
    ),
    {
      source: 'docs: groq/groq-python, chat_completion_message_param.py: roles',
      check: (body) =>
        roleIn(body, 'developer') &&
        openaiError(400, "'messages.0' : discriminator property 'role' has invalid value: developer is unsupported"),
    },
    {
      source: 'report: freellmapi#980: tokens of an answer are capped by model',
      check: (body) => {
        const most = groqModels[body.model]
        const asked = Number(body.max_completion_tokens ?? body.max_tokens ?? 0)
        return (
          most !== undefined &&
          asked > most &&
          openaiError(
            400,
            `\`max_tokens\` must be less than or equal to \`${most}\`, the maximum value for \`max_tokens\` is less than the \`context_window\` for this model`,
          )
        )
      },
    },
    {
      source: 'docs: groq/groq-python, completion_create_params.py: which models take reasoning_effort',
      check: (body) =>
        has(body, 'reasoning_effort') &&
        !/gpt-oss|qwen/.test(body.model) &&
        openaiError(400, '`reasoning_effort` is not supported with this model'),
    },
    {
      source:
        'docs: groq/groq-python, chat_completion_content_part_param.py (no files, no sound); inferred: images are for vision models',
      check: (body) =>
        partIn(body, 'image_url', 'file', 'input_audio', 'refusal') &&
        openaiError(400, "'messages.0.content' : must be a string or text parts; image_url and file are unsupported"),
    },
    {
      source:
        'docs: groq/groq-python, completion_create_params.py: json_schema by model; report: openai/openai-agents-python#2140',
      check: (body) =>
        (body.response_format as { type?: string })?.type === 'json_schema' &&
        !/gpt-oss|kimi|maverick|scout/.test(body.model) &&
        openaiError(400, 'This model does not support response format `json_schema`.'),
    },
    {
      source:
        'docs: console.groq.com/docs/structured-outputs, as TanStack/ai quotes it: "Streaming and tool use are not currently supported with Structured Outputs"',
      check: (body) =>
        (body.response_format as { type?: string })?.type === 'json_schema' &&
        (body.stream === true || toolsOf(body).length > 0) &&
        openaiError(400, 'Streaming and tool use are not currently supported with Structured Outputs'),
    },
    {
      source: 'report: openclaw#147644, freellmapi#254: tokens a minute',
      check: (body) =>
        JSON.stringify(body.messages).length > 120_000 &&
        openaiError(
          413,
          'Request too large for model in organization on tokens per minute (TPM): Limit 6000, Requested 30001',
          null,
          'rate_limit_exceeded',
        ),
    },
    {
      source:
        'report: OpenHands/OpenHands#4643, livekit/agents#1790, gptme/gptme#896: lists of parts are the user’s alone',
      check: (body) => {
        const odd = messagesOf(body).findIndex(({ role, content }) => role !== 'user' && Array.isArray(content))
        const { role } = messagesOf(body)[odd] ?? {}
        return (
          odd >= 0 &&
          openaiError(
            400,
            `'messages.${odd}' : for 'role:${role}' the following must be satisfied[('messages.${odd}.content' : value must be a string)]`,
          )
        )
      },
    },
    {
      source: 'docs: groq/groq-python, chat_completion_tool_choice_option_param.py',
      check: (body) =>
        (hasCustom(body) || !isCommon(body)) &&
        openaiError(400, "'tool_choice' : value is not one of the allowed values"),
    },
    answeredCalls('inferred: as OpenAI’s API, which it follows', (message) => openaiError(400, message)),
    {
      source:
        'docs: groq/groq-python, completion_create_params.py (Function): parameters are an object schema, or left out',
      check: (body) =>
        toolsOf(body).some(
          ({ function: called }) => called?.parameters !== undefined && called.parameters?.type !== 'object',
        ) && openaiError(400, "'tools.0.function.parameters' : must have 'type': 'object'"),
    },
  ],
  answer: openaiAnswer(() => `call_${letters(4)}`),
  events: openaiEvents(() => `call_${letters(4)}`),
  done: true,
}

/** api.deepseek.com */
export const deepseek: Emulator = {
  name: 'deepseek',
  base: '/v1',
  path: '/chat/completions',
  rules: [
    {
      source: 'report: earendil-works/pi#1048, open-codesign#316: the developer role',
      check: (body) =>
        roleIn(body, 'developer', 'function') &&
        openaiError(
          400,
          'Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`, `latest_reminder`',
        ),
    },
    {
      source: 'report: pig-mesh/deepseek4j#41: content is there beside tool calls',
      check: (body) => {
        const odd = messagesOf(body).findIndex(({ content }) => content === undefined)
        return (
          odd >= 0 &&
          openaiError(
            400,
            `Failed to deserialize the JSON body into the target type: messages[${odd}]: missing field \`content\``,
          )
        )
      },
    },
    {
      source:
        'docs: api-docs.deepseek.com/api/create-chat-completion, as lmstudio.ai/alex-garbar/api-docs repeats it: tools are functions, and the forms of tool_choice',
      check: (body) =>
        (hasCustom(body) || !isCommon(body)) &&
        openaiError(
          400,
          'Failed to deserialize the JSON body into the target type: tools[0].type: unknown variant `custom`, expected `function`',
        ),
    },
    {
      source: 'report: hermes-studio#1926: parts are text',
      check: (body) => {
        const odd = partIn(body, 'file', 'image_url', 'input_audio', 'refusal')
        return (
          odd &&
          openaiError(
            400,
            `Failed to deserialize the JSON body into the target type: messages[0]: unknown variant \`${odd}\`, expected \`text\``,
          )
        )
      },
    },
    {
      source: 'report: deepseek-ai/DeepSeek-V3#69, Gitlawb/openclaude#35, mnfst/llm-gateway#1177: max_tokens',
      check: (body) =>
        /chat/.test(body.model) &&
        Number(body.max_tokens ?? 1) > 8192 &&
        openaiError(400, 'Invalid max_tokens value, the valid range of max_tokens is [1, 8192]'),
    },
    {
      source: 'report: BerriAI/litellm#7580, llm-exe/llm-exe#662: json_schema is not there',
      check: (body) =>
        (body.response_format as { type?: string })?.type === 'json_schema' &&
        openaiError(400, 'This response_format type is unavailable now'),
    },
    {
      source:
        'report: earendil-works/pi#3636, 9router#773, deepseek-ai/DeepSeek-V3#1053, anomalyco/opencode#5027: models that think want their thoughts back in a tool loop',
      check: (body) =>
        /v4|reasoner/.test(body.model) &&
        (body.thinking as { type?: string } | undefined)?.type !== 'disabled' &&
        inLoop(body) &&
        loopOf(body).some((message) => !message.reasoning_content) &&
        openaiError(400, 'The `reasoning_content` in the thinking mode must be passed back to the API.'),
    },
    {
      source: 'docs: api-docs.deepseek.com: at most sixteen stop sequences',
      check: (body) =>
        Array.isArray(body.stop) && body.stop.length > 16 && openaiError(400, 'Invalid stop: at most 16 sequences'),
    },
    answeredCalls('inferred: as OpenAI’s API, which it follows', (message) => openaiError(400, message)),
    {
      source: 'report: end-4/dots-hyprland#3640, farion1231/cc-switch#5048: parameters are an object schema',
      check: (body) =>
        toolsOf(body).some(
          (tool) => tool.function?.parameters !== undefined && tool.function.parameters.type !== 'object',
        ) &&
        openaiError(
          400,
          "Invalid schema for function: schema must be a JSON Schema of 'type: \"object\"', got 'type: null'.",
        ),
    },
  ],
  answer: openaiAnswer(() => `call_0_${letters(8)}-${letters(4)}`),
  events: openaiEvents(() => `call_0_${letters(8)}-${letters(4)}`),
  done: true,
}

/** A name that two tools have. */
const twinOf = (body: Body) => {
  const names = toolsOf(body).map((tool) => tool.function?.name)
  return names.find((name, index) => names.indexOf(name) < index)
}

const gemini400 = (message: string): Refusal => ({
  status: 400,
  body: [{ error: { code: 400, message, status: 'INVALID_ARGUMENT' } }],
})
const unknownName = (field: string, at = '') =>
  gemini400(`Invalid JSON payload received. Unknown name "${field}"${at}: Cannot find field.`)

function keywordsOf(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  return Object.entries(schema).flatMap(([key, value]) => {
    if (key === 'properties') return ['properties', ...Object.values(value as object).flatMap(keywordsOf)]
    return [
      key,
      ...(key === 'enum' || key === 'required'
        ? []
        : Array.isArray(value)
          ? value.flatMap(keywordsOf)
          : keywordsOf(value)),
    ]
  })
}

/** generativelanguage.googleapis.com, the endpoint that speaks OpenAI's format. */
export const gemini: Emulator = {
  name: 'google',
  base: '/v1beta/openai',
  path: '/chat/completions',
  rules: [
    unknownFields(
      [
        'model',
        'messages',
        'stream',
        'stream_options',
        'temperature',
        'top_p',
        'max_tokens',
        'max_completion_tokens',
        'n',
        'stop',
        'tools',
        'tool_choice',
        'response_format',
        'reasoning_effort',
        'extra_body',
      ],
      'report: ed-donner/agents#45, SkyrimNet#77: store, metadata, frequency_penalty …; of others inferred',
      (field) => unknownName(field),
    ),
    unknownMessageFields(
      ['role', 'content', 'tool_calls', 'tool_call_id', 'extra_content'],
      'inferred: other fields of messages, as of requests',
      (field, index) => unknownName(field, ` at 'messages[${index}]'`),
    ),
    {
      source: 'inferred: roles beyond those of its native API',
      check: (body) =>
        roleIn(body, 'developer', 'function') && gemini400('Please use a valid role: user, model, system, tool.'),
    },
    {
      source: 'inferred: ai.google.dev/gemini-api/docs/openai.md.txt shows texts, images and sound alone',
      check: (body) => {
        const odd = partIn(body, 'file', 'refusal')
        return odd && gemini400(`Invalid content part type: ${odd}`)
      },
    },
    {
      source:
        'report: felinics/Memoh#620, openswarm-ai/openswarm#24, AstrBotDevs/AstrBot#7572, decolua/9router#2309: keywords of schemas in function declarations',
      check: (body) => {
        const odd = toolsOf(body)
          .flatMap((tool) => keywordsOf(tool.function?.parameters))
          .find((key) =>
            [
              '$schema',
              'additionalProperties',
              'exclusiveMinimum',
              'exclusiveMaximum',
              'const',
              'patternProperties',
            ].includes(key),
          )
        return odd && unknownName(odd, " at 'tools[0].function_declarations[0].parameters'")
      },
    },
    {
      source: 'report: req_llm#302: strict in functions',
      check: (body) =>
        toolsOf(body).some((tool) => tool.function && 'strict' in tool.function) &&
        unknownName('strict', " at 'tools[0].function'"),
    },
    {
      source:
        'report: openai/openai-agents-python#656, Simpleyyt/ai-manus#101, symfony/ai#803: JSON beside tools, but of Gemini 3',
      check: (body) =>
        !/^gemini-3/.test(body.model) &&
        toolsOf(body).length > 0 &&
        (body.response_format as { type?: string } | undefined)?.type?.startsWith('json') &&
        gemini400("Function calling with a response mime type: 'application/json' is unsupported"),
    },
    {
      source:
        'docs: ai.google.dev/gemini-api/docs/openai: "Reasoning cannot be turned off for Gemini 2.5 Pro or 3 models"',
      check: (body) =>
        body.reasoning_effort === 'none' &&
        /pro|gemini-3/.test(body.model) &&
        gemini400('Thinking can not be turned off for this model.'),
    },
    {
      source: 'docs: ai.google.dev/gemini-api/docs/openai: the table of efforts and levels',
      check: (body) =>
        has(body, 'reasoning_effort') &&
        !['none', 'minimal', 'low', 'medium', 'high'].includes(String(body.reasoning_effort)) &&
        gemini400(`Invalid reasoning_effort: ${body.reasoning_effort}`),
    },
    {
      source: 'docs: ai.google.dev/api/generate-content: "character sequences (up to 5)"',
      check: (body) =>
        Array.isArray(body.stop) &&
        body.stop.length > 5 &&
        gemini400('The number of stop sequences must be at most 5.'),
    },
    {
      source: 'report: labring/aiproxy#450, openclaude#1302: Gemini 3 wants its signatures back',
      check: (body) =>
        /gemini-3/.test(body.model) &&
        inLoop(body) &&
        loopOf(body).some(
          (message) =>
            !(callsOf(message)[0]?.extra_content as { google?: { thought_signature?: string } })?.google
              ?.thought_signature,
        ) &&
        gemini400('Function call is missing a thought_signature in functionCall parts.'),
    },
    {
      source:
        'report: FoundationAgents/OpenManus#913, chatboxai/chatbox#1846, router-for-me/CLIProxyAPI#1292: turns that say nothing',
      check: (body) =>
        messagesOf(body).some(
          (message) => message.role !== 'tool' && isBlank(message) && callsOf(message).length === 0,
        ) && gemini400('Unable to submit request because it has an empty text parameter.'),
    },
    {
      source:
        'report: WordPress/ai-provider-for-google#33, TokenRhythm/opensquilla#1263, zed-industries/zed#53919: what schemas may hold',
      check: (body) => {
        const schemas = toolsOf(body).map((tool) => tool.function?.parameters)
        const some = (test: (node: Record<string, unknown>) => boolean) => schemas.some((one) => someNode(one, test))
        if (some((node) => '$ref' in node || '$defs' in node)) return unknownName('$ref', " at 'tools[0]'")
        if (some(({ type }) => Array.isArray(type)))
          return gemini400('Proto field is not repeating, cannot start list.')
        if (some(({ type, items }) => type === 'array' && items === undefined))
          return gemini400('items: missing field.')
        if (some(({ enum: values }) => Array.isArray(values) && values.some((value) => typeof value !== 'string')))
          return gemini400('enum: only allowed for STRING type')
        return (
          some(
            ({ format, type }) =>
              type === 'string' && typeof format === 'string' && !['enum', 'date-time'].includes(format),
          ) && gemini400("format: only 'enum' and 'date-time' are supported for STRING type")
        )
      },
    },
    {
      source:
        'docs: FunctionDeclaration of the API’s clients (googleapis/java-genai, dart-lang/googleapis): names begin with a letter or _; report: kaitranntt/ccs#25: and their letters; inferred: tools are functions',
      check: (body) =>
        (hasCustom(body) ||
          !isCommon(body) ||
          toolsOf(body).some((tool) => !/^[a-zA-Z_][\w.:-]{0,63}$/.test(tool.function?.name ?? ''))) &&
        gemini400('Invalid function name. Must start with a letter or an underscore.'),
    },
    {
      source: 'report: rikkahub/rikkahub#1311, owndev/Open-WebUI-Functions#135: one function a name',
      check: (body) => {
        const twin = twinOf(body)
        return twin !== undefined && gemini400(`Duplicate function declaration found: ${twin}`)
      },
    },
    answeredCalls('code: Google’s own client for Node (nodejs-vertexai) refuses it in these words', () =>
      gemini400('Please ensure that function response turn comes immediately after a function call turn.'),
    ),
  ],
  answer: openaiAnswer(() => `function-call-${Math.floor(Math.random() * 1e15)}`),
  events: openaiEvents(() => `function-call-${Math.floor(Math.random() * 1e15)}`),
  done: true,
}

/** openrouter.ai: takes nearly everything, and leaves off what the model behind it does not know. */
export const openrouter: Emulator = {
  name: 'openrouter',
  base: '/api/v1',
  path: '/chat/completions',
  rules: [
    {
      source: 'docs: openrouter.ai/docs/api/reference/errors-and-debugging; report: litellm#9305: flagged input',
      check: (body) =>
        /FLAGGED-INPUT/.test(JSON.stringify(body.messages)) && {
          status: 403,
          body: {
            error: {
              code: 403,
              message: 'Your chosen model requires moderation and your input was flagged',
              metadata: { reasons: ['violence'], flagged_input: '…', provider_name: 'X', model_slug: body.model },
            },
          },
        },
    },
    {
      source: 'report: oh-my-pi#9569, continue#10298: credits for so many tokens',
      check: (body) =>
        Number(body.max_tokens ?? body.max_completion_tokens ?? 0) > 60_000 && {
          status: 402,
          body: {
            error: {
              code: 402,
              message:
                'This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 1234.',
            },
          },
        },
    },
    {
      source: 'report: evalstate/fast-agent#122: endpoints with tools',
      check: (body) =>
        toolsOf(body).length > 0 &&
        /no-tools/.test(body.model) && {
          status: 404,
          body: { error: { code: 404, message: 'No endpoints found that support tool use.' } },
        },
    },
    {
      source: 'report: HartsyAI/SwarmUI-MagicPromptExtension#50: images',
      check: (body) =>
        partIn(body, 'image_url') &&
        !/vision|gpt|claude|gemini/.test(body.model) && {
          status: 404,
          body: { error: { code: 404, message: 'No endpoints found that support image input' } },
        },
    },
    {
      source: 'inferred: tools are functions, and the forms of tool_choice, as behind it',
      check: (body) => (hasCustom(body) || !isCommon(body)) && openaiError(400, 'Invalid input: tools'),
    },
    answeredCalls('inferred: as the APIs behind it', (message) => openaiError(400, message)),
  ],
  answer: openaiAnswer(() => `tool_0_${letters(20)}`),
  events: openaiEvents(() => `tool_0_${letters(20)}`),
  done: true,
}

/** api.together.xyz */
export const together: Emulator = {
  name: 'together',
  base: '/v1',
  path: '/chat/completions',
  rules: [
    {
      source: 'docs: togethercomputer/together-typescript, completions.ts: roles',
      check: (body) =>
        roleIn(body, 'developer') &&
        openaiError(
          400,
          "Input validation error: 'developer' is not one of ['system', 'user', 'assistant', 'tool', 'function']",
          'messages',
        ),
    },
    {
      source: 'docs: togethercomputer/together-typescript, completions.ts: parts',
      check: (body) =>
        partIn(body, 'file', 'refusal') && openaiError(400, 'Input validation error: invalid content part', 'messages'),
    },
    {
      source:
        'docs: togethercomputer/together-typescript, completions.ts: "only functions are supported as a tool"; of tool_choice inferred',
      check: (body) =>
        (hasCustom(body) || !isCommon(body)) && openaiError(400, 'Input validation error: tool_choice', 'tool_choice'),
    },
    answeredCalls('inferred: as OpenAI’s API, which it follows', (message) => openaiError(400, message)),
  ],
  answer: openaiAnswer(() => `call_${letters(24)}`),
  events: openaiEvents(() => `call_${letters(24)}`),
  done: true,
}

const vllm400 = (message: string): Refusal => ({
  status: 400,
  body: { object: 'error', message, type: 'BadRequestError', param: null, code: 400 },
})

/** vLLM 0.5, which many a company still runs. */
export const vllm: Emulator = {
  name: 'vllm',
  base: '/v1',
  path: '/chat/completions',
  models: ['llama-3-8b'],
  rules: [
    unknownFields(
      without(
        'stream_options',
        'max_completion_tokens',
        'parallel_tool_calls',
        'reasoning_effort',
        'store',
        'metadata',
        'safety_identifier',
        'prompt_cache_key',
        'prompt_cache_retention',
        'service_tier',
        'verbosity',
        'modalities',
        'prediction',
        'audio',
        'web_search_options',
        'functions',
        'function_call',
        'moderation',
      ),
      'code: vllm v0.5.0 entrypoints/openai/protocol.py: extra="forbid"; report: litellm#35290',
      (field) =>
        vllm400(
          `[{'type': 'extra_forbidden', 'loc': ('body', '${field}'), 'msg': 'Extra inputs are not permitted', 'input': None}]`,
        ),
    ),
    {
      source: 'report: ogx-ai/ogx#6069: chat templates without the developer role',
      check: (body) => roleIn(body, 'developer') && vllm400('Unexpected message role.'),
    },
    {
      source: 'report: mike-nott/mcp-assist#21: tools need --enable-auto-tool-choice',
      check: (body) =>
        toolsOf(body).length > 0 &&
        body.tool_choice !== 'none' &&
        vllm400('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    },
    {
      source: 'inferred: text models take text',
      check: (body) => partIn(body, 'image_url', 'file', 'input_audio') && vllm400('Unknown part type: image_url'),
    },
  ],
  answer: openaiAnswer(() => `chatcmpl-tool-${letters(32)}`),
  events: openaiEvents(() => `chatcmpl-tool-${letters(32)}`, 'never'),
  done: true,
}

/** Ollama: ignores what it does not know, but models differ. */
export const ollama: Emulator = {
  name: 'ollama',
  base: '/v1',
  path: '/chat/completions',
  models: ['tinyllama', 'llama3.2'],
  rules: [
    {
      source: 'report: ollama/ollama#11131, louisho5/picobot#6: models without a template for tools',
      check: (body) =>
        toolsOf(body).length > 0 &&
        /tiny/.test(body.model) && {
          status: 400,
          body: {
            error: {
              message: `registry.ollama.ai/library/${body.model}:latest does not support tools`,
              type: 'api_error',
              param: null,
              code: null,
            },
          },
        },
    },
    {
      source: 'code: ollama/ollama server/routes.go: a model that was not pulled',
      check: ({ model }) =>
        !['tinyllama', 'llama3.2'].includes(model) && {
          status: 404,
          body: { error: { message: `model '${model}' not found`, type: 'not_found_error', param: null, code: null } },
        },
    },
    {
      source: 'code: ollama/ollama openai/openai.go: parts',
      check: (body) =>
        partIn(body, 'file', 'input_audio', 'refusal') && {
          status: 400,
          body: {
            error: { message: 'invalid message format', type: 'invalid_request_error', param: null, code: null },
          },
        },
    },
  ],
  answer: openaiAnswer(() => `call_${letters(8)}`),
  events: openaiEvents(() => `call_${letters(8)}`),
  done: true,
}
