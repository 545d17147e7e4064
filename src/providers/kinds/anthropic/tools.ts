import type Anthropic from '@anthropic-ai/sdk'
import type { ChatBody } from '../../../openai/chat.ts'
import { objectSchema } from '../../dialect/tool-schema.ts'
import type { Dialect } from './generation.ts'
import { hasMap, outputSchema } from './json-schema.ts'
import { malformed, unsupported } from './unsupported.ts'

interface FunctionTool {
  type?: string
  function?: { name?: unknown; description?: unknown; parameters?: unknown; strict?: unknown }
}

export function tools(body: ChatBody, { structuredOutputs }: Dialect): Anthropic.Tool[] {
  if (Array.isArray(body.functions) && body.functions.length > 0)
    throw unsupported("'functions': use 'tools'", 'functions')
  return ((body.tools ?? []) as FunctionTool[]).map((tool, index) => {
    const param = `tools.${index}`
    if (tool.type !== 'function') throw unsupported(`tools of type '${tool.type}'`, `${param}.type`)
    const { name, description, parameters, strict } = tool.function ?? {}
    if (typeof name !== 'string') throw malformed('expected a string', `${param}.function.name`)
    const isStrict = strict === true && structuredOutputs && !hasMap(parameters)
    const schema = inputSchema(parameters)
    return {
      name,
      input_schema: isStrict ? (outputSchema(schema) as Anthropic.Tool.InputSchema) : schema,
      ...(typeof description === 'string' && { description }),
      ...(isStrict && { strict: true }),
    }
  })
}

export const inputSchema = (parameters: unknown) => objectSchema(parameters) as Anthropic.Tool.InputSchema

/** `auto`, `required`, `none` or one function; undefined leaves it to the API (auto). */
export function toolChoice(body: ChatBody): Anthropic.ToolChoice | undefined {
  const choice = body.tool_choice as string | { type?: string; function?: { name?: unknown } } | null | undefined
  const single = body.parallel_tool_calls === false ? { disable_parallel_tool_use: true } : {}
  if (choice === undefined || choice === null || choice === 'auto') {
    return 'disable_parallel_tool_use' in single ? { type: 'auto', ...single } : undefined
  }
  if (choice === 'none') return { type: 'none' }
  if (choice === 'required') return { type: 'any', ...single }
  if (typeof choice === 'object' && typeof choice.function?.name === 'string') {
    return { type: 'tool', name: choice.function.name, ...single }
  }
  throw unsupported('this choice of tools', 'tool_choice')
}
