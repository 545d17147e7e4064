import type Anthropic from '@anthropic-ai/sdk'
import type { ChatBody } from '../../../openai/chat.ts'
import { isObject } from '../../../openai/is-object.ts'
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

/**
 * Parameters as the API takes them: an object schema, without a choice at its top. A choice becomes the properties of
 * all alternatives, of which those are required that each demands; in words the model is told all of it.
 */
export function inputSchema(parameters: unknown): Anthropic.Tool.InputSchema {
  if (!isObject(parameters) || Array.isArray(parameters)) return { type: 'object', properties: {} }
  const { anyOf, oneOf, allOf, ...rest } = parameters
  const schema = { ...rest, type: 'object' as const, properties: isObject(rest.properties) ? rest.properties : {} }
  const choices = [anyOf, oneOf].find(Array.isArray)?.filter(isObject) ?? []
  const parts = Array.isArray(allOf) ? allOf.filter(isObject) : []
  if (choices.length === 0 && parts.length === 0) return schema
  const properties = Object.assign({}, ...[...parts, ...choices].map((one) => one.properties ?? {}), schema.properties)
  const common = requiredOf(choices[0]).filter((name) => choices.every((one) => requiredOf(one).includes(name)))
  const required = [...new Set([...requiredOf(schema), ...parts.flatMap(requiredOf), ...common])]
  const said = choices.length > 0 ? `Must be one of: ${JSON.stringify(choices)}` : null
  const description = [rest.description, said].filter((text) => typeof text === 'string' && text !== '').join(' ')
  return {
    ...schema,
    properties,
    ...(required.length > 0 && { required }),
    ...(description !== '' && { description }),
  }
}

const requiredOf = (schema: Record<string, unknown> | undefined): string[] =>
  Array.isArray(schema?.required) ? schema.required.filter((name) => typeof name === 'string') : []

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
