import type { ChatBody, ChatMessage } from '../../../openai/chat.ts'
import { findSum } from './arithmetic.ts'
import type { Persona, Question } from './personas.ts'
import { instanceOf } from './schema-instance.ts'

export interface ToolCall {
  id: string
  type: 'function'
  function: { name: string; arguments: string }
}

export interface Answer {
  content: string | null
  toolCalls: ToolCall[]
}

const FILLER = new Set(
  'a an and are as at be can could do does for from give have how i in is it its me my of on or please tell that the this to was what when where which who why will with would you your'.split(
    ' ',
  ),
)

/** The sandbox makes do with so much of a question: some of its expressions take the square of what they read. */
const MAX_READ_CHARS = 2_000

export function readQuestion({ messages }: ChatBody): Question {
  const users = messages.filter(({ role }) => role === 'user')
  const text = textOf(users.at(-1)).slice(0, MAX_READ_CHARS)
  const last = messages.at(-1)
  const keywords = [...new Set(text.match(/[\p{L}\p{N}][\p{L}\p{N}'-]*/gu) ?? [])]
    .filter((word) => word.length > 2 && !FILLER.has(word.toLowerCase()))
    .slice(0, 5)
  return {
    text,
    topic: topicOf(text),
    keywords,
    tool: last?.role === 'tool' ? textOf(last).slice(0, 2_000) : null,
    sum: findSum(text),
    turns: users.length,
  }
}

/** The answer of one persona; the same request always gives the same. `choice` tells the answers of `n` apart. */
export function answer(body: ChatBody, persona: Persona, choice: number): Answer {
  const question = readQuestion(body)
  const toolCalls = question.tool === null ? callTools(body, question, choice) : []
  if (toolCalls.length > 0) return { content: null, toolCalls }
  const mark = `[sandbox ${persona.model.replace('sandbox-', '')}${choice === 0 ? '' : ` ${choice + 1}`}]`
  const text = persona.write(question)
  const format = body.response_format as { type?: string; json_schema?: { schema?: unknown } } | null | undefined
  if (format?.type === 'json_schema') {
    return {
      content: JSON.stringify(instanceOf(format.json_schema?.schema, { text: fillFrom(question, mark), flag: true })),
      toolCalls: [],
    }
  }
  if (format?.type === 'json_object') return { content: JSON.stringify({ answer: `${mark} ${text}` }), toolCalls: [] }
  return { content: `${mark} ${text}`, toolCalls: [] }
}

interface FunctionTool {
  type: string
  function?: { name?: string; parameters?: unknown }
}

/** The value of every free text in a call: an agent that runs the call as a command runs nothing. */
const HARMLESS = 'sandbox'

/**
 * Calls tools only where the client insists on a call: agents run what is called, and the sandbox understands nothing
 * of what it would have them run. For the same reason no word of the conversation goes into arguments.
 */
function callTools(body: ChatBody, question: Question, choice: number): ToolCall[] {
  const tools = requiredTools(body)
  const text = question.text.toLowerCase()
  const named = tools.filter((tool) =>
    tool.name.split(/[_\W]+/).some((word) => word.length > 3 && text.includes(word.toLowerCase())),
  )
  const chosen = named.length > 0 ? named : tools.slice(0, 1)
  return (body.parallel_tool_calls === false ? chosen.slice(0, 1) : chosen).map((tool, index) => ({
    id: `call_sandbox_${choice}_${index}`,
    type: 'function',
    function: {
      name: tool.name,
      arguments: JSON.stringify(
        instanceOf(tool.parameters ?? { type: 'object' }, { text: () => HARMLESS, flag: false }),
      ),
    },
  }))
}

/** The functions of which one must be called, as `tool_choice` says; none under `auto`. */
function requiredTools(body: ChatBody): { name: string; parameters?: unknown }[] {
  const tools = ((body.tools ?? []) as FunctionTool[]).flatMap(({ function: called }) =>
    typeof called?.name === 'string' ? [{ ...called, name: called.name }] : [],
  )
  const wish = body.tool_choice as string | ToolWish | null | undefined
  if (wish === 'required') return tools
  if (typeof wish !== 'object' || wish === null) return []
  const allowed = wish.allowed_tools
  if (allowed?.mode === 'required' && Array.isArray(allowed.tools)) {
    const names = new Set(allowed.tools.map((tool) => tool?.function?.name))
    return tools.filter(({ name }) => names.has(name))
  }
  return tools.filter(({ name }) => name === wish.function?.name)
}

interface ToolWish {
  function?: { name?: unknown }
  allowed_tools?: { mode?: unknown; tools?: ({ function?: { name?: unknown } } | null)[] }
}

/** Text of a structured answer's strings: a name from the question where the field wants a place or a person. */
function fillFrom({ text, topic, keywords }: Question, mark: string): (field: string) => string {
  const proper = text.match(/(?<=\s)\p{Lu}[\p{L}-]+(?:\s\p{Lu}[\p{L}-]+)*/u)?.[0]
  return (field) => {
    if (/city|location|place|country|name|person|where/i.test(field) && proper) return proper
    if (/query|question|text|prompt|input/i.test(field)) return text.slice(0, 500)
    return [mark, keywords.length > 0 ? keywords.join(' ') : topic].filter(Boolean).join(' ')
  }
}

export function textOf(message: ChatMessage | undefined): string {
  const content = message?.content
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part) => part.text ?? (part.type === 'image_url' ? '(an image)' : ''))
    .join(' ')
    .trim()
}

function topicOf(text: string): string {
  const sentence = text.trim().split(/(?<=[.?!])\s|\n/)[0] ?? ''
  const gist = sentence
    .replace(/^(please|can you|could you|hi|hello|hey)\b[\s,]*/i, '')
    .replace(/^(what|who|where|when)('s| is| are| was| were)\s+/i, '')
    .replace(/^(tell me about|explain|describe|give me)\s+/i, '')
    .replace(/[.?!\s]+$/, '')
  return gist.split(/\s+/).slice(0, 14).join(' ') || 'your message'
}
