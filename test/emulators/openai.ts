import { openaiAnswer, openaiEvents } from './answers.ts'
import type { Body, Emulator } from './emulator.ts'
import { isResponsesOnly, openaiResponses } from './openai-responses.ts'
import {
  answeredCalls,
  callsOf,
  has,
  isBlank,
  messagesOf,
  OPENAI_FIELDS,
  openaiError,
  partsOf,
  someNode,
  toolsOf,
  unknownFields,
  unknownMessageFields,
} from './rules.ts'

export const isReasoning = ({ model }: Body) => /^(gpt-5(?!-chat)|o[134])/.test(model)
const isSearch = ({ model }: Body) => /search/.test(model)
const isAudio = ({ model }: Body) => /audio/.test(model)
const isEmpty = (value: unknown) =>
  value === undefined || value === null || (Array.isArray(value) && value.length === 0)
const onlyWith = (field: string, other: string) =>
  openaiError(400, `Invalid value for '${field}': '${field}' is only allowed when '${other}' are specified.`, field)
const badFunction = (name: string | undefined, why: string) =>
  openaiError(
    400,
    `Invalid schema for function '${name}': ${why}`,
    'tools[0].function.parameters',
    'invalid_function_parameters',
  )
const schemasOf = (body: Body) =>
  [
    ...toolsOf(body).map((tool) => tool.function),
    ...((body.functions ?? []) as { name: string; parameters?: object }[]),
  ]
    .filter((called) => called !== undefined)
    .map(({ name, parameters }) => ({ name, parameters: parameters as Record<string, unknown> | undefined }))
const id = () => `call_${Math.random().toString(36).slice(2, 14)}`

const unsupportedValue = (field: string, value: unknown) =>
  openaiError(
    400,
    `Unsupported value: '${field}' does not support ${JSON.stringify(value)} with this model. Only the default (1) value is supported.`,
    field,
    'unsupported_value',
  )
const unsupported = (field: string, hint = '') =>
  openaiError(
    400,
    `Unsupported parameter: '${field}' is not supported with this model.${hint}`,
    field,
    'unsupported_parameter',
  )

/** api.openai.com, chat completions. */
export const openai: Emulator = {
  name: 'openai',
  base: '/v1',
  path: '/chat/completions',
  rules: [
    {
      source: 'report: alvinunreal/tmuxai#82, arbs-io/vscode-openai#358: models of the Responses API alone',
      check: ({ model }) =>
        isResponsesOnly(model) &&
        openaiError(404, 'This model is only supported in v1/responses and not in v1/chat/completions.', 'model'),
    },
    {
      source:
        'report: openai/openai-openapi#541, GoogleChromeLabs/webmcp-tools#417, BerriAI/litellm#34569: tools beside thoughts, which 5.5 and later have unless told otherwise',
      check: (body) => {
        const thinks = has(body, 'reasoning_effort')
          ? body.reasoning_effort !== 'none'
          : /^gpt-5\.[5-9]/.test(body.model)
        return (
          /^gpt-5\.[4-9]/.test(body.model) &&
          thinks &&
          toolsOf(body).length > 0 &&
          openaiError(
            400,
            `Function tools with reasoning_effort are not supported for ${body.model} in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.`,
            'reasoning_effort',
          )
        )
      },
    },
    unknownFields(OPENAI_FIELDS, 'report: brainlid/langchain#54: other arguments are refused', (field) =>
      openaiError(400, `Unrecognized request argument supplied: ${field}`),
    ),
    {
      source: 'report: decolua/9router#560, labring/aiproxy#337: max_tokens with gpt-5 and the o-series',
      check: (body) =>
        isReasoning(body) &&
        has(body, 'max_tokens') &&
        unsupported('max_tokens', " Use 'max_completion_tokens' instead."),
    },
    {
      source: 'report: mnfst/llm-gateway#1878, decolua/9router#846: sampling with gpt-5 and the o-series',
      check: (body) => {
        if (!isReasoning(body)) return null
        const odd = (['temperature', 'top_p'] as const).find((field) => has(body, field) && body[field] !== 1)
        return odd && unsupportedValue(odd, body[odd])
      },
    },
    {
      source:
        'report: community.openai.com/t/1341049 (stop), vercel/ai#10932 (penalties, logprobs, logit_bias), unless they are told not to think',
      check: (body) => {
        if (!isReasoning(body)) return null
        const odd = ['presence_penalty', 'frequency_penalty', 'logprobs', 'top_logprobs', 'logit_bias', 'stop'].find(
          (field) => has(body, field) && body[field] !== 0 && body[field] !== false,
        )
        return odd && unsupported(odd)
      },
    },
    {
      source: 'report: langchain_dart#712, tg-spam#304: reasoning_effort with models that do not reason',
      check: (body) =>
        !isReasoning(body) &&
        has(body, 'reasoning_effort') &&
        openaiError(400, 'Unrecognized request argument supplied: reasoning_effort'),
    },
    {
      source:
        'docs: ReasoningEffort of openai/openai-openapi and learn.microsoft.com (@azure/ai-projects): values by model',
      check: (body) => {
        if (!has(body, 'reasoning_effort')) return null
        const values = /^gpt-5\.\d/.test(body.model)
          ? ['none', 'low', 'medium', 'high', 'xhigh']
          : /^gpt-5/.test(body.model)
            ? ['minimal', 'low', 'medium', 'high']
            : ['low', 'medium', 'high']
        return (
          !values.includes(body.reasoning_effort as string) &&
          openaiError(
            400,
            `Unsupported value: 'reasoning_effort' does not support '${body.reasoning_effort}' with this model. Supported values are: ${values.join(', ')}.`,
            'reasoning_effort',
            'unsupported_value',
          )
        )
      },
    },
    {
      source: 'report: community.openai.com/t/1341049: values of verbosity other than medium need gpt-5',
      check: (body) =>
        has(body, 'verbosity') &&
        body.verbosity !== 'medium' &&
        !/^gpt-5/.test(body.model) &&
        openaiError(
          400,
          `Unsupported value: 'verbosity' does not support '${body.verbosity}' with this model. Supported values are: 'medium'.`,
          'verbosity',
          'unsupported_value',
        ),
    },
    {
      source: 'docs: openai/openai-openapi: stop has at most four sequences',
      check: (body) =>
        Array.isArray(body.stop) &&
        body.stop.length > 4 &&
        openaiError(
          400,
          "Invalid 'stop': array too long. Expected an array with maximum length 4.",
          'stop',
          'array_above_max_length',
        ),
    },
    {
      source: 'report: agno-agi/agno#5382, vercel/ai#5171: ids of tool calls have at most 40 characters',
      check: (body) =>
        messagesOf(body)
          .flatMap(callsOf)
          .some((call) => call.id.length > 40) &&
        openaiError(
          400,
          "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40.",
          'messages[1].tool_calls[0].id',
          'string_above_max_length',
        ),
    },
    {
      source: 'report: openai/openai-node#1341, home-assistant/core#118577: an empty list of calls',
      check: (body) =>
        messagesOf(body).some(({ tool_calls: calls }) => Array.isArray(calls) && calls.length === 0) &&
        openaiError(
          400,
          "Invalid 'messages[1].tool_calls': empty array. Expected an array with minimum length 1, but got an empty array instead.",
          'messages[1].tool_calls',
          'empty_array',
        ),
    },
    {
      source: 'report: QwenLM/qwen-code#3616, vybestack/llxprt-code#1640: a tool’s message holds text alone',
      check: (body) => {
        const odd = messagesOf(body).findIndex(
          (message) => message.role === 'tool' && partsOf(message).some(({ type }) => type !== 'text'),
        )
        return odd >= 0 && openaiError(400, "Invalid 'messages' in payload.", `messages[${odd}].content`)
      },
    },
    answeredCalls(
      'report: langchain-ai/langchainjs#6621, nextcloud/context_agent#140: calls and their results',
      (message) => openaiError(400, `Invalid parameter: ${message}`, 'messages'),
    ),
    {
      source: 'docs: guides/structured-outputs: strict functions have closed parameters',
      check: (body) => {
        const odd = toolsOf(body).find(
          (tool) => tool.function?.strict === true && tool.function.parameters?.additionalProperties !== false,
        )
        return (
          odd &&
          openaiError(
            400,
            `Invalid schema for function '${odd.function?.name}': In context=(), 'additionalProperties' is required to be supplied and to be false.`,
            'tools[0].function.parameters',
            'invalid_function_parameters',
          )
        )
      },
    },
    {
      source: 'report: Agent-Field/agentfield#584: pcm16 where it is streamed; inferred: audio needs an audio model',
      check: (body) => {
        const wants = has(body, 'audio') || ((body.modalities ?? []) as string[]).includes('audio')
        const brings = messagesOf(body).some(
          (message) => message.audio || partsOf(message).some(({ type }) => type === 'input_audio'),
        )
        if ((wants || brings) && !isAudio(body))
          return openaiError(400, 'This model does not support audio.', 'messages', 'unsupported_value')
        const { format } = (body.audio ?? {}) as { format?: string }
        return wants && body.stream && format !== 'pcm16' && unsupportedValue('audio.format', format)
      },
    },
    {
      source:
        'code: "requires that either input content or output modality contain audio", in many clients; inferred: neither images nor schemas',
      check: (body) => {
        if (!isAudio(body)) return null
        const parts = messagesOf(body).flatMap(partsOf)
        if (parts.some(({ type }) => type === 'image_url' || type === 'file')) return unsupported('image_url')
        const speaks = parts.some(({ type }) => type === 'input_audio') || has(body, 'audio')
        if (!speaks)
          return openaiError(
            400,
            'This model requires that either input content or output modality contain audio.',
            'model',
          )
        return has(body, 'response_format') && unsupported('response_format')
      },
    },
    {
      source:
        'report: vercel/ai#5609, charmbracelet/mods#480, ChatGPTNextWeb/NextChat#6569: search models take no sampling, others no search',
      check: (body) => {
        if (has(body, 'web_search_options') && !isSearch(body)) return unsupported('web_search_options')
        if (!isSearch(body)) return null
        const odd = [
          'temperature',
          'top_p',
          'n',
          'presence_penalty',
          'frequency_penalty',
          'logit_bias',
          'seed',
          'tools',
          'logprobs',
        ].find((field) => has(body, field))
        return odd && openaiError(400, `Model incompatible request argument supplied: ${odd}`, odd)
      },
    },
    {
      source: 'report: Arize-ai/openinference#2083: custom tools came with gpt-5; inferred: others refuse them',
      check: (body) => {
        const isCustom =
          toolsOf(body).some(({ type }) => type === 'custom') ||
          messagesOf(body)
            .flatMap(callsOf)
            .some(({ type }) => type === 'custom')
        return (
          isCustom &&
          !/^gpt-5/.test(body.model) &&
          openaiError(
            400,
            "Invalid value: 'custom'. Supported values are: 'function'.",
            'tools[0].type',
            'invalid_value',
          )
        )
      },
    },
    {
      source:
        'report: continuedev/continue#3403, pydantic/pydantic-ai#155, Upsonic/Upsonic#323, camel-ai/camel#3706: empty tools, and what goes with tools alone',
      check: (body) => {
        if (Array.isArray(body.tools) && body.tools.length === 0)
          return openaiError(
            400,
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            'tools',
            'empty_array',
          )
        for (const field of ['tool_choice', 'parallel_tool_calls'])
          if (has(body, field) && isEmpty(body.tools)) return onlyWith(field, 'tools')
        if (has(body, 'function_call') && isEmpty(body.functions)) return onlyWith('function_call', 'functions')
        if (has(body, 'stream_options') && !body.stream) return onlyWith('stream_options', 'stream')
        return has(body, 'top_logprobs') && body.logprobs !== true && onlyWith('top_logprobs', 'logprobs')
      },
    },
    {
      source:
        'report: langchain-ai/langchainjs#9804, chatanywhere/GPT_API_free#403: parameters are an object without a choice at its top',
      check: (body) => {
        const odd = schemasOf(body).find(
          ({ parameters }) =>
            parameters !== undefined &&
            (parameters.type !== 'object' ||
              ['anyOf', 'oneOf', 'allOf', 'enum', 'not'].some((key) => key in parameters)),
        )
        return (
          odd &&
          badFunction(
            odd.name,
            `schema must be a JSON Schema of 'type: "object"', got 'type: "${odd.parameters?.type}"'.`,
          )
        )
      },
    },
    {
      source: 'report: ruvnet/ruflo#1294, NousResearch/hermes-agent#54290: arrays say what their items are',
      check: (body) => {
        const odd = schemasOf(body).find(({ parameters }) =>
          someNode(parameters, (node) => node.type === 'array' && node.items === undefined),
        )
        return odd && badFunction(odd.name, "In context=('properties', 'x'), array schema missing items.")
      },
    },
    {
      source:
        'docs: developers.openai.com/api/docs/guides/predicted-outputs: neither n, logprobs, penalties, audio, tools nor a limit; inferred: which models',
      check: (body) => {
        if (!has(body, 'prediction')) return null
        if (!/^gpt-4(o|\.1)/.test(body.model) || isAudio(body)) return unsupported('prediction')
        const odd = ['tools', 'functions', 'logprobs', 'audio', 'max_completion_tokens'].find((field) =>
          has(body, field),
        )
        const isPenal = ['presence_penalty', 'frequency_penalty'].some((field) => Number(body[field] ?? 0) > 0)
        return (
          (odd || isPenal || Number(body.n ?? 1) > 1) &&
          unsupported('prediction', ` It can not be used with ${odd ?? 'this'}.`)
        )
      },
    },
    {
      source:
        'code: "must contain the word \'json\' in some form", in many clients: json_object needs the word in a message',
      check: (body) =>
        (body.response_format as { type?: string } | null)?.type === 'json_object' &&
        !/json/i.test(JSON.stringify(messagesOf(body))) &&
        openaiError(
          400,
          "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
          'messages',
        ),
    },
    {
      source: 'docs: openai/openai-openapi: content is there, but beside calls, and names of functions',
      check: (body) => {
        const odd = messagesOf(body).findIndex(({ role, content, name, ...more }) => {
          if (role === 'function') return name === undefined
          if (role !== 'assistant') return content === undefined || content === null
          return isBlank({ role, content }) && !more.tool_calls && !more.function_call && !more.audio && !more.refusal
        })
        return (
          odd >= 0 &&
          openaiError(400, `Invalid value for 'content': expected a string, got null.`, `messages.[${odd}].content`)
        )
      },
    },
    {
      source: 'report: vybestack/llxprt-code#2135, theopenco/llmgateway#3110: keys have at most 64 characters',
      check: (body) => {
        const odd = ['prompt_cache_key', 'safety_identifier'].find((field) => String(body[field] ?? '').length > 64)
        return (
          odd &&
          openaiError(
            400,
            `Invalid '${odd}': string too long. Expected a string with maximum length 64, but got a string with length ${String(body[odd]).length} instead.`,
            odd,
            'string_above_max_length',
          )
        )
      },
    },
    unknownMessageFields(
      ['role', 'content', 'name', 'refusal', 'annotations', 'audio', 'tool_calls', 'tool_call_id', 'function_call'],
      'report: openai/openai-node#1161, transitive-bullshit/agentic#531: other fields of messages',
      (field, index) =>
        openaiError(400, `Additional properties are not allowed ('${field}' was unexpected) - 'messages.${index}'`),
    ),
    {
      source: 'report: 0x4m4/hexstrike-ai#29: at most 128 tools; docs: openai/openai-openapi: names',
      check: (body) => {
        if (toolsOf(body).length > 128)
          return openaiError(
            400,
            "Invalid 'tools': array too long. Expected an array with maximum length 128.",
            'tools',
            'array_above_max_length',
          )
        const odd = toolsOf(body).find((tool) => tool.function && !/^[a-zA-Z0-9_-]{1,64}$/.test(tool.function.name))
        return (
          odd &&
          openaiError(
            400,
            "Invalid 'tools[0].function.name': string does not match pattern.",
            'tools[0].function.name',
            'invalid_value',
          )
        )
      },
    },
  ],
  answer: openaiAnswer(id),
  events: openaiEvents(id),
  done: true,
  more: [openaiResponses],
}
