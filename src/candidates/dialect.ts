import { z } from 'zod'
import { ownOf } from '../runtime/own.ts'

const scalar = z.union([z.string(), z.number(), z.boolean()])

/**
 * What becomes of a field that a model does not take as it came. `drop`: it only tunes the answer, so it is left off
 * and told in `x-router-dropped`. `avoid`: it changes what the answer is, so the model is not asked. `keep`: it is
 * taken (undoes an earlier rule).
 */
const fate = z.enum(['keep', 'drop', 'avoid'])

const fieldRule = z.union([
  fate,
  z.strictObject({
    /** Another name for the same thing; what follows is about its value. */
    rename: z.string().optional(),
    /** The only values that are taken. */
    values: z.array(scalar).optional(),
    /** Values that stand for others: the nearest that the model knows. */
    map: z.record(z.string(), scalar).optional(),
    /** Values that are told by another field: by value, that field and what it holds then. */
    instead: z.record(z.string(), z.record(z.string(), z.unknown())).optional(),
    min: z.number().optional(),
    max: z.number().optional(),
    /** A regular expression that each text must match. */
    pattern: z.string().optional(),
    /** Fields beside which it is not taken. */
    not_with: z.array(z.string()).optional(),
    /** Of a list. */
    max_items: z.number().int().positive().optional(),
    /** Of a value that none of the above lets through; `clamp` takes the nearest within `min` and `max`. */
    otherwise: z.enum(['drop', 'avoid', 'clamp']).default('avoid'),
  }),
])

const choices = z.array(z.enum(['auto', 'none', 'required', 'function', 'custom', 'allowed_tools']))

const rules = {
  /** By top-level field of a request; `*`: fields that OpenAI does not document. */
  fields: z.record(z.string(), fieldRule).optional(),
  /** By role: the role that stands in for it, or `avoid`. */
  roles: z.record(z.string(), z.string()).optional(),
  /**
   * By type of a content part; `text` makes plain text of a refusal. `file_id`: a file that is not in the request;
   * `remote_image`: an image that is not.
   */
  parts: z.record(z.string(), z.enum(['keep', 'avoid', 'text'])).optional(),
  /** By field of a message, beside those that every API has. */
  message_fields: z.record(z.string(), fate).optional(),
  /** Fields of messages and of their tool calls that hold thoughts in this model's own terms; others' are left out. */
  thoughts: z.array(z.string()).optional(),
  /** Of those, what each tool call of a loop must carry; without it the model can't go on with another's loop. */
  loop_needs: z.string().optional(),
  /** Every tool call of the conversation must carry it, not only those of the loop that it goes on with. */
  calls_need: z.string().optional(),
  /**
   * It can be told not to think, by `thinking: { type: disabled }`: then it needs no thoughts back, and takes these
   * forms of `tool_choice`.
   */
  without_thinking: z.strictObject({ choices }).optional(),
  /** The form of tool-call ids; others are translated, the same way each time. */
  tool_ids: z
    .strictObject({ pattern: z.string(), length: z.number().int().min(4).max(64), unique: z.boolean().default(false) })
    .optional(),
  tools: z
    .strictObject({
      /** Types of tools that are taken. */
      types: z.array(z.string()).optional(),
      /** Whether functions may be `strict`; if not, the flag is left off. */
      strict: z.boolean().optional(),
      /** Keywords of JSON schema that are left out of functions' parameters. */
      schema_without: z.array(z.string()).optional(),
      /** Parameters must be an object schema without a choice at its top: one is made of what is not. */
      object_schema: z.boolean().optional(),
      /** References to `$defs` are not taken: what they stand for is put in their place. */
      inline_refs: z.boolean().optional(),
      /** A list of types is not taken: the first, and whether null is one of them. */
      nullable: z.boolean().optional(),
      /** What the items of an array are where its schema does not say. */
      array_items: z.record(z.string(), z.unknown()).optional(),
      /** Only texts may be enumerated: the other enumerations go into descriptions. */
      text_enums: z.boolean().optional(),
      /** Formats of texts that are taken; others are left out. */
      formats: z.array(z.string()).optional(),
      /** A regular expression that names of functions must match. */
      names: z.string().optional(),
      /** No two tools may have one name. */
      unique: z.boolean().optional(),
      /** Forms of `tool_choice` that are taken; of `allowed_tools` the tools are offered alone. */
      choices: choices.optional(),
    })
    .optional(),
  /** What becomes of `response_format`. */
  formats: z
    .strictObject({
      /** `in_object`: it comes as `{ type: json_object, schema }`, without a name and never strict. */
      json_schema: z.enum(['keep', 'avoid', 'in_object']).optional(),
      json_object: z.enum(['keep', 'avoid']).optional(),
      /** Fields beside which no JSON is promised, `tools` or `stream`. */
      not_with: z.array(z.enum(['tools', 'stream'])).optional(),
      /** Keywords of JSON schema that are not kept to: with one of them the model is not asked. */
      schema_avoid: z.array(z.string()).optional(),
    })
    .optional(),
  /** What a conversation looks like to this model. */
  turns: z
    .strictObject({
      /** `first`: one system message, at the beginning. */
      system: z.enum(['anywhere', 'first']).optional(),
      /** User and assistant take turns: neighbours of one role become one message. */
      alternate: z.boolean().optional(),
      /** `drop`: messages that say nothing are left out. */
      blank: z.enum(['keep', 'drop']).optional(),
      /** `after`: a tool's result is text alone, so its pictures and files come after it, in a user's message. */
      tool_parts: z.enum(['within', 'after']).optional(),
      /** Roles whose content is one text, not parts of it. */
      one_text: z.array(z.string()).optional(),
      /** Content must be there beside tool calls, if an empty one. */
      needs_content: z.boolean().optional(),
    })
    .optional(),
  /**
   * When it refuses chat completions, and is asked by the Responses API, both ways converted: `always`, or `with_tools`
   * (where its provider has that API).
   */
  responses: z.enum(['always', 'with_tools']).optional(),
  /**
   * It thinks, and tells its thoughts sealed where it is asked for them by the Responses API; a model that does not
   * refuses to be asked. As `responses` is set where left out.
   */
  thinks: z.boolean().optional(),
  /** It takes only requests that need one of these capabilities: a model for sound answers no text alone. */
  only_for: z.array(z.string()).optional(),
  /** What becomes of a conversation in which a user speaks right after a tool's result. */
  user_after_tool: z.enum(['keep', 'avoid']).optional(),
  /** What becomes of a conversation whose last message is the assistant's, to be gone on with. */
  prefill: z.enum(['keep', 'avoid']).optional(),
}

/** How a provider, or a family of its models, differs from OpenAI's documented API. */
export const dialectSchema = z.strictObject({
  ...rules,
  /** Families by their model names (`*` for anything, case is ignored): each that fits is added to the rules above. */
  models: z.array(z.strictObject({ match: z.array(z.string()).min(1), ...rules })).default([]),
})

export const dialectsSchema = z.record(z.string(), dialectSchema)

type DialectConfig = z.output<typeof dialectSchema>
export type FieldRule = z.output<typeof fieldRule>
export type Fate = z.output<typeof fate>

/** The rules for one model. */
export interface Dialect {
  fields: Readonly<Record<string, FieldRule>>
  roles: Readonly<Record<string, string>>
  parts: Readonly<Record<string, 'keep' | 'avoid' | 'text'>>
  messageFields: Readonly<Record<string, Fate>>
  thoughts: ReadonlySet<string>
  loopNeeds: string | null
  callsNeed: string | null
  toolIds: { pattern: RegExp; length: number; unique: boolean } | null
  tools: Readonly<NonNullable<DialectConfig['tools']>>
  formats: Readonly<NonNullable<DialectConfig['formats']>>
  turns: Readonly<NonNullable<DialectConfig['turns']>>
  onlyFor: readonly string[] | null
  prefill: 'keep' | 'avoid'
  userAfterTool: 'keep' | 'avoid'
  /** When it refuses chat completions. */
  responses: 'always' | 'with_tools' | null
  /** The rules for what is asked by the Responses API instead. */
  overResponses?: Dialect
  /** The rules while it is told not to think, where it can be. */
  withoutThinking?: Dialect
}

/** The other field by which a model is told a value of a field, and what that field holds then; or undefined. */
export function insteadOf(dialect: Dialect, field: string, value: unknown): Record<string, unknown> | undefined {
  const rule = ownOf(dialect.fields, field)
  return typeof rule === 'object' && typeof value === 'string' ? ownOf(rule.instead, value) : undefined
}

/** Whether a model is known to take a value of a field, in some form. */
export function hasWordFor(dialect: Dialect, field: string, value: string): boolean {
  const rule = ownOf(dialect.fields, field)
  if (rule === 'keep' || insteadOf(dialect, field, value)) return true
  if (typeof rule !== 'object') return false
  return rule.values?.includes(value) === true || ownOf(rule.map, value) !== undefined
}

/** What the Responses API has no word for, whichever model it is. */
const RESPONSES_FIELDS: Dialect['fields'] = {
  n: 'avoid',
  stop: 'avoid',
  seed: 'drop',
  logit_bias: 'drop',
  prediction: 'drop',
  functions: 'avoid',
  function_call: 'avoid',
  web_search_options: 'avoid',
  max_tokens: { min: 16, otherwise: 'avoid' },
  max_completion_tokens: { min: 16, otherwise: 'avoid' },
}

const overResponses = (dialect: Dialect, thinks: boolean): Dialect => ({
  ...dialect,
  fields: { ...dialect.fields, ...RESPONSES_FIELDS },
  roles: { ...dialect.roles, function: 'avoid' },
  parts: { ...dialect.parts, input_audio: 'avoid' },
  messageFields: { ...dialect.messageFields, name: 'drop', function_call: 'avoid' },
  // Results of tools hold pictures there.
  turns: { ...dialect.turns, tool_parts: 'within' },
  // Sealed: they go back with the calls that they led to.
  thoughts: new Set(thinks ? ['reasoning_details'] : []),
})

const made = new WeakMap<DialectConfig, Map<string, Dialect>>()

/**
 * The rules that hold for a model, families' over the provider's own: the same object for all models of the same
 * families, so that a request is judged by it once.
 */
export function dialectFor(config: DialectConfig, model: string): Dialect {
  const families = config.models.filter(({ match }) => match.some((pattern) => fits(pattern, model)))
  const known = made.get(config) ?? new Map<string, Dialect>()
  made.set(config, known)
  const key = families.map((family) => config.models.indexOf(family)).join()
  const dialect = known.get(key) ?? dialectOf([config, ...families])
  known.set(key, dialect)
  return dialect
}

function dialectOf(fitting: readonly (DialectConfig | DialectConfig['models'][number])[]): Dialect {
  const merged = <K extends 'fields' | 'roles' | 'parts' | 'message_fields' | 'tools' | 'formats' | 'turns'>(key: K) =>
    Object.assign({}, ...fitting.map((rules) => rules[key] ?? {}))
  const last = <
    K extends
      | 'thoughts'
      | 'loop_needs'
      | 'calls_need'
      | 'only_for'
      | 'tool_ids'
      | 'prefill'
      | 'user_after_tool'
      | 'responses'
      | 'thinks'
      | 'without_thinking',
  >(
    key: K,
  ) => fitting.findLast((rules) => rules[key] !== undefined)?.[key]
  const ids = last('tool_ids')
  const responses = last('responses') ?? null
  const dialect: Dialect = {
    fields: merged('fields'),
    roles: merged('roles'),
    parts: merged('parts'),
    messageFields: merged('message_fields'),
    thoughts: new Set(last('thoughts')),
    loopNeeds: last('loop_needs') ?? null,
    callsNeed: last('calls_need') ?? null,
    toolIds: ids ? { pattern: new RegExp(`^(?:${ids.pattern})$`), length: ids.length, unique: ids.unique } : null,
    tools: merged('tools'),
    formats: merged('formats'),
    turns: merged('turns'),
    onlyFor: last('only_for') ?? null,
    prefill: last('prefill') ?? 'keep',
    userAfterTool: last('user_after_tool') ?? 'keep',
    responses,
  }
  const byResponses = overResponses(dialect, last('thinks') ?? responses !== null)
  if (responses === 'always') return byResponses
  const quiet = last('without_thinking')
  return {
    ...dialect,
    overResponses: byResponses,
    ...(quiet && {
      withoutThinking: { ...dialect, loopNeeds: null, callsNeed: null, tools: { ...dialect.tools, ...quiet } },
    }),
  }
}

function fits(pattern: string, model: string): boolean {
  const source = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\/]/g, '\\$&'))
  return new RegExp(`^${source.join('.*')}$`, 'i').test(model)
}
