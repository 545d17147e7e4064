import { hash } from 'node:crypto'
import { isObject } from '../is-object.ts'
import type { ResponsesBody } from './body.ts'

interface FlatTool {
  type: string
  name?: unknown
  description?: unknown
  parameters?: unknown
  strict?: unknown
  format?: unknown
  /** Of a namespace. */
  tools?: unknown
  [key: string]: unknown
}

interface ChatFunction {
  type: 'function'
  function: { name: string; description?: string; parameters?: unknown; strict?: boolean }
}

export type ToolChoice = ResponsesBody['tool_choice']

/** A tool in the client's own words. */
export interface ToolName {
  name: string
  namespace?: string
  /** Its input is text, not JSON. */
  isCustom: boolean
}

export interface Tools {
  /** As chat completions have them. */
  tools: ChatFunction[]
  toolChoice: string | { type: 'function'; function: { name: string } } | undefined
  /** The client's tool that a function stands for. */
  named(chatName: string): ToolName
  /** The client's tools as they took effect, and its choice among them. */
  kept: FlatTool[]
  keptChoice: ToolChoice
  /** Types of the others: only a provider with a Responses endpoint of its own can run them. */
  hosted: string[]
}

/** The parameter of a function that stands in for a custom tool. */
export const CUSTOM_INPUT = 'input'

/**
 * Function tools, flat there and nested here. A custom tool becomes a function of one text, the tools of a namespace
 * functions with its name before theirs: most servers have no other. All other types run at OpenAI (`web_search` …).
 */
export function chatTools({ tools, tool_choice: choice }: ResponsesBody): Tools {
  const all = (tools ?? []) as FlatTool[]
  const allowed = allowedBy(choice)
  const offered = new Map<string, { named: ToolName; offer: ChatFunction }>()
  const kept: FlatTool[] = []
  for (const tool of all) {
    const added = membersOf(tool).filter(({ named }) => allowed(named) && !offered.has(chatNameOf(named)))
    for (const [index, { tool: member, named }] of added.entries()) {
      // What is said of a namespace is said once, with its first tool.
      const about = index === 0 && member !== tool ? tool.description : undefined
      offered.set(chatNameOf(named), { named, offer: functionOf(member, named, about) })
      kept.push(member === tool ? tool : { ...member, name: chatNameOf(named) })
    }
  }
  const chosen = chatChoice(choice, offered)
  return {
    tools: [...offered.values()].map(({ offer }) => offer),
    toolChoice: offered.size === 0 ? undefined : chosen,
    named: (chatName) => offered.get(chatName)?.named ?? { name: chatName, isCustom: false },
    kept,
    keptChoice: offered.size === 0 || chosen === undefined ? undefined : choice,
    hosted: [...new Set(all.filter((tool) => membersOf(tool).length === 0).map(({ type }) => type))],
  }
}

/** Names of functions in chat completions (OpenAI, `tools[].function.name`). */
const [MAX_NAME_CHARS, ODD] = [64, /[^A-Za-z0-9_-]/g]

/** What a tool is called in chat completions: the same each time, whether it is offered still or not. */
export function chatNameOf({ name, namespace }: Pick<ToolName, 'name' | 'namespace'>): string {
  if (namespace === undefined || namespace === '') return name
  const joined = `${namespace}${namespace.endsWith('__') ? '' : '__'}${name}`
  const plain = joined.replace(ODD, '_')
  if (plain === joined && joined.length <= MAX_NAME_CHARS) return joined
  const mark = hash('sha256', `${namespace}\0${name}`, 'hex').slice(0, 8)
  return `${plain.slice(0, MAX_NAME_CHARS - 9)}_${mark}`
}

/** The tools that a tool stands for: itself, or those of a namespace; none where it runs at its provider. */
function membersOf(tool: FlatTool): { tool: FlatTool; named: ToolName }[] {
  if (tool.type === 'namespace' && typeof tool.name === 'string' && Array.isArray(tool.tools)) {
    const namespace = tool.name
    return (tool.tools as FlatTool[])
      .flatMap((member) => (member?.type === 'namespace' ? [] : membersOf(member ?? { type: '' })))
      .map(({ tool: member, named }) => ({ tool: member, named: { ...named, namespace } }))
  }
  // As chat completions have it: some frameworks send the same to both.
  if (tool.type === 'function' && isObject(tool.function)) return membersOf({ ...tool.function, type: 'function' })
  const isCustom = tool.type === 'custom'
  if ((tool.type !== 'function' && !isCustom) || typeof tool.name !== 'string') return []
  return [{ tool, named: { name: tool.name, isCustom } }]
}

function functionOf(tool: FlatTool, named: ToolName, about: unknown): ChatFunction {
  const said = [about, tool.description].filter((text) => typeof text === 'string' && text !== '')
  const name = chatNameOf(named)
  return named.isCustom ? customTool(name, said as string[], tool) : functionTool(name, said as string[], tool)
}

function functionTool(name: string, said: readonly string[], { parameters, strict }: FlatTool): ChatFunction {
  return {
    type: 'function',
    function: {
      name,
      ...(said.length > 0 && { description: said.join('\n\n') }),
      ...(typeof parameters === 'object' && parameters !== null && { parameters }),
      ...(typeof strict === 'boolean' && { strict }),
    },
  }
}

function customTool(name: string, said: readonly string[], { format }: FlatTool): ChatFunction {
  const grammar = (format as { type?: unknown; syntax?: unknown; definition?: unknown } | null | undefined) ?? {}
  const told =
    grammar.type === 'grammar' && typeof grammar.definition === 'string'
      ? [`The input must match this ${String(grammar.syntax ?? '')} grammar:\n${grammar.definition}`]
      : []
  const text = [...said, ...told].join('\n\n')
  return {
    type: 'function',
    function: {
      name,
      ...(text !== '' && { description: text }),
      parameters: {
        type: 'object',
        properties: { [CUSTOM_INPUT]: { type: 'string', description: 'The whole input of the tool, as plain text.' } },
        required: [CUSTOM_INPUT],
        additionalProperties: false,
      },
    },
  }
}

/** Whether a choice leaves a tool among those that may be called. */
function allowedBy(choice: ToolChoice): (tool: ToolName) => boolean {
  if (typeof choice !== 'object' || choice?.type !== 'allowed_tools' || !Array.isArray(choice.tools)) return () => true
  const entries = choice.tools as ({ type?: unknown; name?: unknown; namespace?: unknown } | null)[]
  return ({ name, namespace }) =>
    entries.some((entry) =>
      entry?.type === 'namespace'
        ? entry.name === namespace
        : String(entry?.name) === name && (entry?.namespace === undefined || entry.namespace === namespace),
    )
}

function chatChoice(choice: ToolChoice, offered: ReadonlyMap<string, { named: ToolName }>): Tools['toolChoice'] {
  if (choice === null || choice === undefined) return undefined
  if (typeof choice === 'string') return choice
  if (choice.type === 'allowed_tools') return choice.mode === 'required' ? 'required' : 'auto'
  if (choice.type !== 'function' && choice.type !== 'custom') return undefined
  const wanted = [...offered].find(
    ([, { named }]) =>
      named.name === choice.name && (choice.namespace === undefined || choice.namespace === named.namespace),
  )
  return wanted && { type: 'function', function: { name: wanted[0] } }
}

/** The text that a model gave as a custom tool's input; what does not hold it is taken as it is. */
export function customInput(argumentsText: string): string {
  try {
    const json: unknown = JSON.parse(argumentsText)
    const input = (json as Record<string, unknown> | null)?.[CUSTOM_INPUT]
    return typeof input === 'string' ? input : argumentsText
  } catch {
    return argumentsText
  }
}
