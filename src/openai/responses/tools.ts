import type { ResponsesBody } from './body.ts'

interface FlatTool {
  type: string
  name?: unknown
  description?: unknown
  parameters?: unknown
  strict?: unknown
  format?: unknown
  [key: string]: unknown
}

interface ChatFunction {
  type: 'function'
  function: { name: string; description?: string; parameters?: unknown; strict?: boolean }
}

export type ToolChoice = ResponsesBody['tool_choice']

export interface Tools {
  /** As chat completions have them. */
  tools: ChatFunction[]
  toolChoice: string | { type: 'function'; function: { name: string } } | undefined
  /** Names of tools whose input is text, not JSON. */
  custom: ReadonlySet<string>
  /** Those of the client's tools that a model behind chat completions has, and its choice among them. */
  kept: FlatTool[]
  keptChoice: ToolChoice
  /** Types of the others: only a provider with a Responses endpoint of its own can run them. */
  hosted: string[]
}

/** The parameter of a function that stands in for a custom tool. */
export const CUSTOM_INPUT = 'input'

/**
 * Function tools, flat there and nested here. A custom tool becomes a function of one text: most servers have no other.
 * All other types run at OpenAI (`web_search`, `namespace` …).
 */
export function chatTools({ tools, tool_choice: choice }: ResponsesBody): Tools {
  const all = (tools ?? []) as FlatTool[]
  const allowed = allowedNames(choice)
  const isOurs = ({ type, name }: FlatTool) => (type === 'function' || type === 'custom') && typeof name === 'string'
  const kept = all.filter((tool) => isOurs(tool) && (allowed === null || allowed.has(String(tool.name))))
  const chosen = chatChoice(choice, kept)
  return {
    tools: kept.map((tool) => (tool.type === 'custom' ? customTool(tool) : functionTool(tool))),
    toolChoice: kept.length === 0 ? undefined : chosen,
    custom: new Set(kept.filter(({ type }) => type === 'custom').map(({ name }) => String(name))),
    kept,
    keptChoice: kept.length === 0 || chosen === undefined ? undefined : choice,
    hosted: [...new Set(all.filter((tool) => !isOurs(tool)).map(({ type }) => type))],
  }
}

function functionTool({ name, description, parameters, strict }: FlatTool): ChatFunction {
  return {
    type: 'function',
    function: {
      name: String(name),
      ...(typeof description === 'string' && { description }),
      ...(typeof parameters === 'object' && parameters !== null && { parameters }),
      ...(typeof strict === 'boolean' && { strict }),
    },
  }
}

function customTool({ name, description, format }: FlatTool): ChatFunction {
  const grammar = (format as { type?: unknown; syntax?: unknown; definition?: unknown } | null | undefined) ?? {}
  const told =
    grammar.type === 'grammar' && typeof grammar.definition === 'string'
      ? `The input must match this ${String(grammar.syntax ?? '')} grammar:\n${grammar.definition}`
      : ''
  const text = [typeof description === 'string' ? description : '', told].filter(Boolean).join('\n\n')
  return {
    type: 'function',
    function: {
      name: String(name),
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

function allowedNames(choice: ToolChoice): Set<string> | null {
  if (typeof choice !== 'object' || choice?.type !== 'allowed_tools' || !Array.isArray(choice.tools)) return null
  return new Set(choice.tools.map((tool: { name?: unknown }) => String(tool?.name)))
}

function chatChoice(choice: ToolChoice, kept: readonly FlatTool[]): Tools['toolChoice'] {
  if (choice === null || choice === undefined) return undefined
  if (typeof choice === 'string') return choice
  if (choice.type === 'allowed_tools') return choice.mode === 'required' ? 'required' : 'auto'
  const name = String(choice.name)
  const isKept = (choice.type === 'function' || choice.type === 'custom') && kept.some((tool) => tool.name === name)
  return isKept ? { type: 'function', function: { name } } : undefined
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
