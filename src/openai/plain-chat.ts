type Check = (value: unknown) => boolean

const isNumber: Check = (value) => typeof value === 'number'
const isCount: Check = (value) => typeof value === 'number' && value >= 1
const isBoolean: Check = (value) => typeof value === 'boolean'
const isText: Check = (value) => typeof value === 'string'
const isModel: Check = (value) => typeof value === 'string' && value.length >= 1 && value.length <= 256
/** Lists and objects are for the schema. */
const neither: Check = () => false

/** Of the schema's fields (`parse-chat.ts`), those that may also be null or left out. */
const OPTIONAL: ReadonlyMap<string, Check> = new Map([
  ['stream', isBoolean],
  ['temperature', isNumber],
  ['top_p', isNumber],
  ['n', isCount],
  ['max_tokens', isCount],
  ['max_completion_tokens', isCount],
  ['stop', isText],
  ['presence_penalty', isNumber],
  ['frequency_penalty', isNumber],
  ['seed', isNumber],
  ['logprobs', isBoolean],
  ['top_logprobs', isNumber],
  ['parallel_tool_calls', isBoolean],
  ['user', isText],
  ['safety_identifier', isText],
  ...['stream_options', 'tools', 'functions', 'response_format', 'modalities'].map((name) => [name, neither] as const),
])

/**
 * Whether a chat completion request is one of texts alone, which the schema takes: it makes a copy of all it looks at,
 * and most requests are such. False says nothing.
 */
export function isPlainChat(json: Readonly<Record<string, unknown>>): boolean {
  const { model, messages } = json
  if (!isModel(model) || !Array.isArray(messages) || messages.length === 0) return false
  for (const name of Object.keys(json)) {
    const value = json[name]
    if (value !== null && OPTIONAL.get(name)?.(value) === false) return false
  }
  return messages.every(isPlainMessage)
}

function isPlainMessage(message: unknown): boolean {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return false
  const { role, content, tool_calls: calls } = message as Record<string, unknown>
  return typeof role === 'string' && (content === null || typeof content === 'string') && calls === undefined
}
