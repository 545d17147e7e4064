import type { ChatRequest } from '../../openai/chat.ts'
import { parseJson, readError } from '../../openai/error.ts'
import { isObject } from '../../openai/is-object.ts'
import { isUnreadable } from '../../openai/unreadable.ts'
import type { Failure } from '../forward/failure.ts'
import { factsOf } from './facts.ts'
import { isOff, type Refused, withValue } from './learned.ts'
import { chatNameOf } from './native.ts'
import { withoutRepeated } from './repeated.ts'

/**
 * An answer that says something of the request, not of the provider's state. `model`: the model is not there, or not
 * for us; `content`: this request's own content or size; `candidate`: something that this model does not take and
 * another may.
 */
export interface Refusal {
  about: 'model' | 'content' | 'candidate'
  /** What to remember of the deployment; may be empty. */
  refused: readonly Refused[]
  /** A field that the gateway added, which the client never sent. */
  added: string | null
  /** It says itself that other models take this value. */
  isOfModel?: boolean
  /** The prompt was too long. */
  isTooLong?: boolean
}

type StatusFailure = Failure & { kind: 'status' }

/** They speak of the provider's state, or of us, unless their words say otherwise. */
const OF_STATE = new Set([401, 408])

const FLAGGED = /flagged|moderation|content[ _-]?(?:policy|filter)|safety|harmful|prohibited|"reasons"|guardrail/i
const NO_MODEL =
  /model[_ ]?not[_ ]?found|decommissioned|deprecated|(?:model|deployment)\b[^.]{0,120}(?:does not exist|not exist|not found|no longer|is not available|not supported by|unavailable)|no such model|unknown model|invalid model|not have access to (?:the )?model|No endpoints found for|on-demand throughput/i
const TOO_LARGE =
  /request too large|too large for|requested \d[\d,]*\b[\s\S]{0,200}\blimit|limit \d[\d,]*\b[\s\S]{0,200}\brequested|reduce (?:your|the) (?:message|prompt|request)/i
const TOO_LONG =
  /context[_ ](?:length|window|size)|maximum context|prompt is too long|too many (?:input )?tokens|input (?:is )?too long|maximum (?:input|prompt) length|exceeds? the (?:model'?s )?(?:maximum|limit)[^.]{0,200}tokens|exceeds? (?:the )?(?:available )?context|tokens \+ `?max_new_tokens/i
/** How many, or how large, not whether at all. */
const TOO_MUCH =
  /too many|too (?:large|big|long)|max(?:imum)?(?: \w+)? (?:is|of|allowed)|at most|exceeds|larger than|up to \d/i
const NO_STREAM =
  /to stream this model|stream(?:ing)? (?:is )?not (?:yet )?(?:supported|available|allowed)|not support stream/i
const NO_SYSTEM =
  /system (?:role|messages?|prompts?|instructions?) (?:(?:is|are) )?not (?:supported|allowed|permitted|accepted)|not (?:support|accept|allow) (?:the )?(?:'|")?system/i
const NOT_IN_TURNS = /(?:must|should) alternate/i
const NOT_FIRST =
  /system messages? (?:must|should|(?:can|may|is|are) only) (?:be |come |appear |allowed |supported )*(?:at the (?:beginning|start)|as the first|first|the first)/i
/** Not whether at all, but where. */
const PLACE =
  /\bsystem\b[^.;]{0,120}\b(?:after|middle|mid-conversation|except|beginning|start|first|only (?:one|a single)|multiple)\b/i
const NO_PREFILL =
  /(?:must|should) end with a user|assistant message prefill|expected last role|last message must (?:be|have) (?:a |the )?(?:role )?'?user/i
const NOT_BOTH = /cannot both|can not both|only one of|mutually exclusive|not (?:both|be used together)/i
const NO_THOUGHTS = /not support (?:thinking|reasoning)/i
const ALWAYS_THINKS = /(?:thinking|reasoning) (?:is mandatory|can ?not be (?:disabled|turned off))/i
/** Words against a value by which a model is told not to think. */
const OFF = /disabl|turn(?:ed)? off|\b(?:none|false)\b/i
const OF_THOUGHTS = ['reasoning_effort', 'reasoning', 'thinking', 'enable_thinking']
const FEWER_TOKENS = /fewer max_tokens|can only afford|requires more credits/i
const NOT_TAKEN =
  /unsupported|incompatible|not[_ ]support|unrecognized|unknown|extra (?:inputs|fields|params)|extra_forbidden|not[_ ]permitted|cannot find field|no such field|unexpected|does not accept|not accept|only the default|deprecated|not (?:yet )?(?:available|allowed|implemented)|must be verified|unavailable|requires --/i
/** The field is known, one value of it is not. */
const VALUE =
  /unsupported value|invalid value|unsupported_value|is not one of|must be one of|less than or equal|greater than|out of range|between|at most|at least/i

const MADE_WRONG = /tool_use_failed|json_validate_failed|failed_generation/

/** Fields of errors in which they repeat what was asked or answered: words in there are not the provider's. */
const REPEATED = new Set(['input', 'failed_generation', 'flagged_input', 'prompt'])
/** So much of a text is read: providers say what is wrong at its beginning. */
const MAX_SAID = 8_192

/** What of a text is a provider's own, so that no expression below runs over more than that. */
const ownWords = (told: string): string => withoutRepeated(told).slice(0, MAX_SAID)

/** What an error's body says itself. */
function saidOf(bytes: Buffer, body: unknown): string {
  if (body === undefined) return ownWords(bytes.toString('utf8'))
  const own = (key: string, value: unknown) =>
    REPEATED.has(key) ? undefined : typeof value === 'string' ? ownWords(value) : value
  return JSON.stringify(body, own).slice(0, MAX_SAID)
}

/** What an error says of the request, or null: then it is about the provider's state, or ours. */
export function readRefusal(failure: StatusFailure, request: ChatRequest): Refusal | null {
  const { status } = failure
  const body = parseJson(failure.body)
  const { message: told, param, code } = readError(status, body)
  const message = ownWords(told)
  const text = saidOf(failure.body, body)
  // The model did not get right what was asked of it: another time it may.
  if (MADE_WRONG.test(`${code} ${message}`)) return { about: 'content', refused: [], added: null }
  // Of what this request brings along: another request is answered.
  if ((status === 400 || status === 404) && isUnreadable({ code, message })) {
    return { about: 'content', refused: [], added: null }
  }
  const length = (): Refusal => ({ about: 'content', refused: tooLong(request), added: null, isTooLong: true })
  switch (status) {
    case 402:
      return FEWER_TOKENS.test(message) ? { about: 'content', refused: [], added: null } : null
    case 403:
      if (FLAGGED.test(text)) return { about: 'content', refused: [], added: null }
      return NO_MODEL.test(text) ? { about: 'model', refused: [], added: null } : null
    case 429:
      return TOO_LARGE.test(message) && isLargerThanAllowed(message) ? length() : null
    case 404: {
      const refused = fieldsOf(text, message, param, request)
      // "No endpoints found that support tool use" is about the tools.
      if (refused.length > 0 && /support/i.test(message)) return { about: 'candidate', refused, added: null }
      return { about: 'model', refused: [], added: null }
    }
    default:
      break
  }
  if ((status >= 500 && status !== 501) || status < 400 || OF_STATE.has(status)) return null
  if (code === 'model_not_found' || code === 'model_decommissioned' || (param === 'model' && NO_MODEL.test(text))) {
    return { about: 'model', refused: [], added: null }
  }
  if (status === 413 || code === 'context_length_exceeded' || TOO_LONG.test(message)) return length()
  if (FLAGGED.test(String(code))) return { about: 'content', refused: [], added: null }
  const refused = fieldsOf(text, message, param, request)
  const added =
    request.stream && !request.spans.has('stream_options') && /stream_options|include_usage/.test(text)
      ? 'stream_options'
      : null
  if (refused.length === 0 && added === null && NO_MODEL.test(message))
    return { about: 'model', refused: [], added: null }
  const isOfModel = code === 'unsupported_value' || OF_MODEL.test(message) || ALWAYS_THINKS.test(message)
  return { about: 'candidate', refused: added === null ? refused : [added], added, isOfModel }
}

const OF_MODEL = /with this model|for this model/i

/** No window is smaller: what is refused below was something else. */
const LEAST_WINDOW = 1_000

/** A prompt that did not fit; where the answer may be longer than it, nothing is known of the prompt alone. */
function tooLong({ promptTokens, body }: ChatRequest): Refused[] {
  const answer = body.max_completion_tokens ?? body.max_tokens ?? 0
  return promptTokens >= LEAST_WINDOW && promptTokens > answer ? [`tokens>=${promptTokens}`] : []
}

/** "Limit 30000, Requested 50000": no waiting makes it fit. */
function isLargerThanAllowed(message: string): boolean {
  const limit = /limit:? ?(\d[\d,]*)/i.exec(message)?.[1]
  const requested = /requested:? ?(\d[\d,]*)/i.exec(message)?.[1]
  if (limit === undefined || requested === undefined) return true
  return Number(requested.replaceAll(',', '')) > Number(limit.replaceAll(',', ''))
}

/** Words that stand in many a message without being meant as a field. */
const ORDINARY = new Set([
  'stop',
  'user',
  'n',
  'tools',
  'store',
  'stream',
  'seed',
  'functions',
  'name',
  'metadata',
  'model',
  'messages',
  'input',
  'prompt',
  'reasoning',
  'file',
  'text',
  'audio',
])

/** One schema, or one tool, of the request is wrong: nothing is said of others. */
const ITS_SCHEMA =
  /invalid[ _](?:json[ _])?schema|schema must|missing items|function[ _]parameters|additionalProperties|input_schema/i
/** Fields that hold so much that a word against something in them is none against all. */
const LARGE = new Set(['tools', 'functions', 'response_format', 'tool_choice'])
const WHOLE = /support|unrecognized|unknown (?:field|parameter|argument|name)|extra|not[_ ]permitted|requires --enable/i

/** What of a conversation as a whole is refused, whichever field it is told of. */
function wholeRefused(message: string, request: ChatRequest): Refused | null {
  const { roles, endsWithAssistant } = factsOf(request)
  if (request.stream && NO_STREAM.test(message)) return 'stream'
  if (NOT_IN_TURNS.test(message)) return 'turns:alternate'
  if (roles.has('system') && NOT_FIRST.test(message)) return 'turns:system'
  if (roles.has('system') && NO_SYSTEM.test(message)) {
    const isPlaced = request.body.messages.some(({ role }, at) => at > 0 && role === 'system')
    return isPlaced && PLACE.test(message) ? 'turns:system' : 'role:system'
  }
  return endsWithAssistant && NO_PREFILL.test(message) ? 'prefill' : null
}

function fieldsOf(text: string, message: string, param: string | null, request: ChatRequest): Refused[] {
  const facts = factsOf(request)
  const isValue = VALUE.test(text) && !/only the default/i.test(text)
  const ofField = (field: string): Refused[] => {
    const value = request.body[field]
    // What was refused are the tools, or the format, of another API.
    if (LARGE.has(field) && request.native) return []
    if (LARGE.has(field) && (ITS_SCHEMA.test(text) || !WHOLE.test(message))) return []
    if (isLimit(field) && typeof value === 'number' && isValue) return [`max_tokens>=${value}`]
    const longest = typeof value === 'string' ? Number(LONGEST.exec(message)?.[1]) : Number.NaN
    if (longest < String(value).length) return [`${field}.length>${longest}`]
    // Another form of answer may be taken, and other thoughts than none.
    const isOne = isValue || field === 'response_format' || (isOff(field, value) && OFF.test(message))
    if (isOne || !NOT_TAKEN.test(text)) {
      const one = withValue(field, value)
      return one === null ? [] : [one]
    }
    return [field]
  }
  const isNamed = (name: string) => {
    // Some write them as their own language does: presencePenalty.
    const camel = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
    if (!text.includes(name) && !text.includes(camel)) return false
    // A name is the client's: none is an expression.
    const bare = new RegExp(`(?<![\\w.-])(?:${literally(name)}|${literally(camel)})(?![\\w-])`)
    if (!bare.test(text)) return false
    return (
      !ORDINARY.has(name) ||
      new RegExp(`['"\`\\\\]${name}['"\`\\\\]|\\b${name}(?: parameter| field)|${name}:|: ${name}\\b`).test(text)
    )
  }
  const asWhole = wholeRefused(message, request)
  if (asWhole !== null) return [asWhole]
  const own = param !== null && request.native ? chatNameOf(request.native.api, param) : param
  const named = own === null ? null : placeOf(own, request)
  // A word for the kind of error is no place in the request.
  if (own !== null && named !== null && named !== 'messages' && isPlace(own, message, facts.fields)) {
    if (named.includes(':')) return [named]
    const type = [...facts.toolTypes].find((one) => one !== 'function' && isNamed(one))
    if (named === 'tools' && type !== undefined) return [`tool:${type}`]
    const isInside = LARGE.has(named) && own !== named
    return facts.fields.includes(named) && !isInside ? ofField(named) : []
  }
  for (const type of facts.toolTypes) if (type !== 'function' && isNamed(type)) return [`tool:${type}`]
  const within = /messages[.[]\d+\]?(?:\.\w+)*\.(\w+)/.exec(message)?.[1]
  if (within !== undefined && facts.messageFields.has(within)) return [`message:${within}`]
  const ofThoughts = OF_THOUGHTS.filter((field) => facts.fields.includes(field))
  if (ofThoughts.length > 0 && NO_THOUGHTS.test(message)) return ofThoughts
  if (ALWAYS_THINKS.test(message)) {
    const off = facts.fields.filter((field) => isOff(field, request.body[field]))
    // To think more, or less, is not refused with it.
    return (off.length > 0 ? off : ofThoughts).flatMap((field) => withValue(field, request.body[field]) ?? [])
  }
  const longestFirst = (names: Iterable<string>) => [...names].sort((a, b) => b.length - a.length)
  for (const role of facts.roles) {
    if (!['user', 'assistant', 'tool', 'system'].includes(role) && isNamed(role)) return [`role:${role}`]
  }
  if (/\brole\b/i.test(message) && facts.roles.has('developer')) return ['role:developer']
  const ofMessages = [...facts.messageFields, ...facts.emptyMessageFields]
  for (const field of longestFirst(ofMessages)) if (isNamed(field)) return [`message:${field}`]
  const fields = longestFirst(facts.fields).filter(isNamed)
  if (fields.length > 1 && NOT_BOTH.test(message))
    return [fields.find((field) => field === 'top_p') ?? (fields[0] as string)]
  // "Model incompatible request arguments supplied: temperature, top_p"
  if (fields.length > 1 && /\b(?:arguments|parameters|properties|fields)\b/i.test(message))
    return fields.flatMap(ofField)
  const [field] = fields
  if (field !== undefined) return ofField(field)
  // So many images, or such a large one.
  if (TOO_MUCH.test(message)) return []
  for (const part of facts.parts) if (part !== 'text' && isNamed(part)) return [`part:${part}`]
  if (facts.fields.includes('response_format') && /response format|json[_ ]schema/i.test(message))
    return ofField('response_format')
  if (facts.parts.has('image_url') && /\bimages?\b|vision|multimodal/i.test(message)) return ['part:image_url']
  if (request.body.tools?.length && /\btools?\b|function call/i.test(message) && NOT_TAKEN.test(message))
    return ['tools']
  return []
}

const literally = (text: string): string => text.replace(/\W/g, '\\$&')

const LONGEST = /(?:string too long[\s\S]{0,200}?maximum length|at most) (\d+)(?: characters|,|\.|$)/i

const isPlace = (param: string, message: string, fields: readonly string[]) =>
  fields.includes(param.split(/[.[]/)[0] as string) || param.startsWith('messages') || message.includes(param)

const isLimit = (field: string) => field === 'max_tokens' || field === 'max_completion_tokens'

/** `messages[1].content[0].type`, `tools.0.function`: the field, or what of the messages. */
function placeOf(param: string, request: ChatRequest): string | null {
  const steps = param.split(/[.[\]]+/).filter((step) => step !== '')
  const [first, ...rest] = steps
  if (first !== 'messages') return first ?? null
  const names = rest.filter((step) => !/^\d+$/.test(step))
  const message = request.body.messages[Number(rest.find((step) => /^\d+$/.test(step)))]
  const last = names.at(-1)
  if (last === undefined || !message) return 'messages'
  if (names.includes('content')) {
    const part = Array.isArray(message.content)
      ? message.content[Number(rest.filter((step) => /^\d+$/.test(step))[1] ?? 0)]
      : null
    return isObject(part) && part.type !== 'text' ? `part:${String(part.type)}` : 'messages'
  }
  if (last === 'role')
    return ['user', 'assistant', 'tool', 'system'].includes(message.role) ? 'messages' : `role:${message.role}`
  return last in message ? `message:${last}` : 'messages'
}
