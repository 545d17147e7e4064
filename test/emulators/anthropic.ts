import type { Body, Emulator, Refusal } from './emulator.ts'

interface Block {
  type: string
  text?: string
  id?: string
  tool_use_id?: string
  content?: string | Block[]
  source?: { type: string; media_type?: string; data?: string }
  signature?: string
  data?: string
}
interface Turn {
  role: string
  content: string | Block[]
}

const refuse = (message: string): Refusal => ({
  status: 400,
  body: { type: 'error', error: { type: 'invalid_request_error', message }, request_id: 'req_1' },
})
const turnsOf = (body: Body) => body.messages as Turn[]
const blocksOf = ({ content }: Turn): Block[] =>
  typeof content === 'string' ? [{ type: 'text', text: content }] : content
const all = (body: Body) => turnsOf(body).flatMap(blocksOf)
const texts = (blocks: Block[]): Block[] =>
  blocks.flatMap((block) => [block, ...(Array.isArray(block.content) ? texts(block.content) : [])])
const versionOf = ({ model }: Body) =>
  Number(
    /-(\d)(?:-(\d))?(?=$|-)/
      .exec(model)
      ?.slice(1, 3)
      .map((part) => part ?? '0')
      .join('.') ?? 99,
  )
const toolsOf = (body: Body) =>
  (body.tools ?? []) as { name: string; input_schema: Record<string, unknown>; strict?: boolean }[]

const FIELDS = [
  'model',
  'messages',
  'max_tokens',
  'stream',
  'system',
  'tools',
  'tool_choice',
  'thinking',
  'output_config',
  'stop_sequences',
  'temperature',
  'top_p',
  'top_k',
  'metadata',
  'service_tier',
  'cache_control',
  'container',
  'context_management',
  'mcp_servers',
]
const MAGIC: [string, RegExp][] = [
  ['image/png', /^89504e47/],
  ['image/jpeg', /^ffd8ff/],
  ['image/gif', /^47494638/],
  ['image/webp', /^52494646.{8}57454250/],
]
const CONSTRAINTS = [
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'maxItems',
]

function someKeyword(schema: unknown, test: (key: string, value: unknown) => boolean): boolean {
  if (typeof schema !== 'object' || schema === null) return false
  return Object.entries(schema).some(([key, value]) => {
    if (key === 'properties') return Object.values(value as object).some((inner) => someKeyword(inner, test))
    return test(key, value) || someKeyword(value, test)
  })
}

/** api.anthropic.com, the Messages API. */
export const anthropic: Emulator = {
  name: 'anthropic',
  base: '/v1',
  path: '/messages',
  rules: [
    {
      source: 'report: OpenHands/software-agent-sdk#1252: other fields are refused',
      check: (body) => {
        const odd = Object.keys(body).find((field) => !FIELDS.includes(field))
        return odd && refuse(`${odd}: Extra inputs are not permitted`)
      },
    },
    {
      source: 'docs: docs.anthropic.com/en/api/messages: max_tokens is required',
      check: (body) => typeof body.max_tokens !== 'number' && refuse('max_tokens: Field required'),
    },
    {
      source: 'code: the refusal’s words, in many clients: longest answers; inferred: 64,000 for all',
      check: (body) =>
        Number(body.max_tokens) > 64_000 &&
        refuse(
          `max_tokens: ${body.max_tokens} > 64000, which is the maximum allowed number of output tokens for ${body.model}`,
        ),
    },
    {
      source: 'report: opencode#31259, home-assistant#175637, claude-code#23369: text of white space alone',
      check: (body) =>
        texts([...all(body), ...((body.system ?? []) as Block[])]).some(
          (block) => block.type === 'text' && (block.text ?? '').trim() === '',
        ) && refuse('messages: text content blocks must contain non-whitespace text'),
    },
    {
      source: 'report: higress-group/higress#3517: roles',
      check: (body) =>
        turnsOf(body).some(({ role }) => role !== 'user' && role !== 'assistant') &&
        refuse('messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter.'),
    },
    {
      source: 'report: sst/opencode#2655: turns have content, but for the assistant’s last one',
      check: (body) =>
        turnsOf(body).some(
          (turn, index, turns) =>
            blocksOf(turn).length === 0 && !(turn.role === 'assistant' && index === turns.length - 1),
        ) && refuse('messages.0: all messages must have non-empty content'),
    },
    {
      source: 'report: cc-switch#1181, ClawRouter#17: ids of tool calls',
      check: (body) =>
        all(body).some((block) => block.type === 'tool_use' && !/^[a-zA-Z0-9_-]+$/.test(block.id ?? '')) &&
        refuse("messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"),
    },
    {
      source: 'report: CLIProxyAPI#1875: ids of tool calls are unique',
      check: (body) => {
        const ids = all(body).flatMap((block) => (block.type === 'tool_use' ? [block.id] : []))
        return new Set(ids).size < ids.length && refuse('messages: `tool_use` ids must be unique')
      },
    },
    {
      source:
        'report: geekforbrains/sidekick-cli#32, Yeachan-Heo/gajae-code#4807: each call has its result in the next turn, first in it',
      check: (body) => {
        const turns = turnsOf(body)
        for (const [index, turn] of turns.entries()) {
          const calls = blocksOf(turn).flatMap((block) => (block.type === 'tool_use' ? [block.id] : []))
          const next = turns[index + 1]
          if (calls.length === 0) continue
          const results = next
            ? blocksOf(next)
                .slice(0, calls.length)
                .map((block) => block.tool_use_id)
            : []
          if (calls.some((id) => !results.includes(id)))
            return refuse(
              `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${calls.join(', ')}`,
            )
        }
        return null
      },
    },
    {
      source: 'report: litellm#24900, claude-code#15746: an image that is not what its label says',
      check: (body) => {
        const odd = texts(all(body)).find(
          ({ source }) =>
            source?.type === 'base64' &&
            source.media_type?.startsWith('image/') &&
            MAGIC.some(
              ([type, pattern]) =>
                pattern.test(Buffer.from(source.data ?? '', 'base64').toString('hex')) && type !== source.media_type,
            ),
        )
        return (
          odd && refuse('messages.0.content.0.image.source.base64.data: Image does not match the provided media type')
        )
      },
    },
    {
      source: 'report: opencode#13768, #29760, deepagents#1585: prefill from 4.6 on',
      check: (body) =>
        versionOf(body) >= 4.6 &&
        turnsOf(body).at(-1)?.role === 'assistant' &&
        refuse('This model does not support assistant message prefill. The conversation must end with a user message.'),
    },
    {
      source: 'report: crewAIInc/crewAI#4620: no white space at the end of a prefill',
      check: (body) => {
        const last = turnsOf(body).at(-1)
        return (
          last?.role === 'assistant' &&
          /\s$/.test(blocksOf(last).at(-1)?.text ?? '') &&
          refuse('messages: final assistant content cannot end with trailing whitespace')
        )
      },
    },
    {
      source: 'report: anthropics/claude-code#10687, tailcallhq/forgecode#892: one tool a name',
      check: (body) => {
        const names = toolsOf(body).map(({ name }) => name)
        return new Set(names).size < names.length && refuse('tools: Tool names must be unique.')
      },
    },
    {
      source: 'report: home-assistant/core#147760, craft-ai-agents/craft-agents-oss#498: names of tools',
      check: (body) =>
        toolsOf(body).some(({ name }) => !/^[a-zA-Z0-9_-]{1,128}$/.test(name ?? 'x')) &&
        refuse("tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
    },
    {
      source: 'report: req_llm#302, ENTERPILOT/GoModel#963: tools have object schemas',
      check: (body) =>
        toolsOf(body).some((tool) => tool.input_schema?.type !== 'object') &&
        refuse('tools.0.custom.input_schema.type: Field required'),
    },
    {
      source: 'report: litellm#33631: no choice at the top of a schema',
      check: (body) =>
        toolsOf(body).some((tool) => ['anyOf', 'oneOf', 'allOf'].some((key) => key in tool.input_schema)) &&
        refuse('tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level'),
    },
    {
      source:
        'report: oh-my-pi#826; docs.anthropic.com/en/docs/build-with-claude/structured-outputs: strict from 4.5 on, without constraints',
      check: (body) =>
        toolsOf(body).some(
          (tool) =>
            tool.strict &&
            (versionOf(body) < 4.5 || someKeyword(tool.input_schema, (key) => CONSTRAINTS.includes(key))),
        ) && refuse('tools.0.custom.strict: Extra inputs are not permitted'),
    },
    {
      source: 'report: ax-llm/ax#458, BerriAI/litellm#35808: closed objects',
      check: (body) => {
        const schema = (body.output_config as { format?: { schema?: Record<string, unknown> } })?.format?.schema
        return (
          schema !== undefined &&
          (someKeyword(schema, (key) => CONSTRAINTS.includes(key)) ||
            (schema.type === 'object' && schema.additionalProperties !== false)) &&
          refuse(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
          )
        )
      },
    },
    {
      source: 'docs: docs.anthropic.com/en/api/messages: temperature is at most 1',
      check: (body) => Number(body.temperature ?? 0) > 1 && refuse('temperature: range: 0..1'),
    },
    {
      source: 'report: open-webui/functions#9: temperature or top_p, not both, from 4.5 on',
      check: (body) =>
        versionOf(body) >= 4.5 &&
        body.temperature !== undefined &&
        body.top_p !== undefined &&
        refuse('`temperature` and `top_p` cannot both be specified for this model.'),
    },
    {
      source: 'report: pollinations/pollinations#11319, anomalyco/models.dev#1468: no sampling from 4.7 on',
      check: (body) => {
        const odd = ['temperature', 'top_p', 'top_k'].find((field) => body[field] !== undefined && body[field] !== 1)
        return versionOf(body) >= 4.7 && odd && refuse(`\`${odd}\` is deprecated for this model.`)
      },
    },
    {
      source: 'code: stanford-crfm/helm, run_expander.py: stop sequences',
      check: (body) =>
        ((body.stop_sequences ?? []) as string[]).some((text) => text.trim() === '') &&
        refuse('stop_sequences: each stop sequence must contain non-whitespace'),
    },
    {
      source: 'report: vybestack/llxprt-code#2335, CommonstackAI/UncommonRoute#19: signatures are its own',
      check: (body) =>
        all(body).some(
          (block) =>
            (block.type === 'thinking' && !block.signature?.startsWith('claude-')) ||
            (block.type === 'redacted_thinking' && !block.data?.startsWith('claude-')),
        ) && refuse('messages.1.content.0: Invalid `signature` in `thinking` block'),
    },
    {
      source: 'docs: anthropics/anthropic-sdk-typescript, messages.ts (ThinkingConfigEnabled): budgets',
      check: (body) => {
        const thinking = body.thinking as { type?: string; budget_tokens?: number } | undefined
        return (
          thinking?.type === 'enabled' &&
          ((thinking.budget_tokens ?? 0) < 1024 || (thinking.budget_tokens ?? 0) >= Number(body.max_tokens)) &&
          refuse('`max_tokens` must be greater than `thinking.budget_tokens`.')
        )
      },
    },
    {
      source: 'docs: platform.claude.com/docs/en/models/opus-5-5/migration-guide: it always thinks, no tool is forced',
      check: ({ model, thinking, tool_choice: choice }) => {
        if (!/-5-5/.test(model)) return null
        const isOff = (thinking as { type?: string } | undefined)?.type === 'disabled'
        const isForced = ['any', 'tool'].includes((choice as { type?: string } | undefined)?.type ?? '')
        return (isOff || isForced) && refuse(`${isOff ? 'thinking' : 'tool_choice'} is not supported with this model.`)
      },
    },
    {
      source:
        'docs: docs.anthropic.com/en/docs/build-with-claude/extended-thinking, as LostRuins/lite.koboldai.net#108 quotes it: no forced tools, no sampling',
      check: (body) => {
        const thinks = ['enabled', 'adaptive'].includes((body.thinking as { type?: string })?.type ?? '')
        return (
          thinks &&
          (['any', 'tool'].includes((body.tool_choice as { type?: string })?.type ?? '') ||
            body.temperature !== undefined) &&
          refuse('Thinking may not be enabled when tool_choice forces tool use.')
        )
      },
    },
  ],
  answer: (body) => {
    const content = contentOf(body)
    return {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: body.model,
      content,
      stop_reason: content[0]?.type === 'tool_use' ? 'tool_use' : 'end_turn',
      stop_sequence: null,
      usage: { input_tokens: 9, output_tokens: 3 },
    }
  },
  events: (body) => {
    const content = contentOf(body)
    const named = (data: { type: string; [key: string]: unknown }) => ({ event: data.type, data })
    return [
      named({
        type: 'message_start',
        message: {
          id: 'msg_1',
          type: 'message',
          role: 'assistant',
          model: body.model,
          content: [],
          stop_reason: null,
          usage: { input_tokens: 9, output_tokens: 1 },
        },
      }),
      ...content.flatMap((block, index) => [
        named({
          type: 'content_block_start',
          index,
          content_block: block.type === 'text' ? { type: 'text', text: '' } : { ...block, input: {} },
        }),
        named({
          type: 'content_block_delta',
          index,
          delta:
            block.type === 'text'
              ? { type: 'text_delta', text: block.text }
              : { type: 'input_json_delta', partial_json: '{}' },
        }),
        named({ type: 'content_block_stop', index }),
      ]),
      named({
        type: 'message_delta',
        delta: { stop_reason: content[0]?.type === 'tool_use' ? 'tool_use' : 'end_turn' },
        usage: { output_tokens: 3 },
      }),
      named({ type: 'message_stop' }),
    ]
  },
  done: false,
}

let calls = 0
function contentOf(body: Body): (Block & { name?: string; input?: unknown })[] {
  const choice = body.tool_choice as { type?: string; name?: string } | undefined
  const called = choice?.type === 'tool' ? choice.name : choice?.type === 'any' ? toolsOf(body)[0]?.name : undefined
  if (called !== undefined) return [{ type: 'tool_use', id: `toolu_${++calls}`, name: called, input: { ok: true } }]
  return [{ type: 'text', text: body.output_config ? '{"ok":true}' : 'Understood.' }]
}
