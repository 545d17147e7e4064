import type { Api } from '../../candidates/candidate.ts'
import type { NativeRequest } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'
import { withFields } from '../../openai/with-fields.ts'
import { ownOf } from '../../runtime/own.ts'
import type { Edit, Plan } from './plan.ts'

/** What a field of chat completions is called in another format; `a.b`: a field of an object. */
const NAMES: Partial<Record<Api, Readonly<Record<string, string>>>> = {
  responses: {
    max_completion_tokens: 'max_output_tokens',
    max_tokens: 'max_output_tokens',
    reasoning_effort: 'reasoning.effort',
    verbosity: 'text.verbosity',
    response_format: 'text.format',
  },
  messages: {
    max_completion_tokens: 'max_tokens',
    stop: 'stop_sequences',
    reasoning_effort: 'output_config.effort',
    response_format: 'output_config.format',
  },
}

/** They are needed there, or say nothing wrong. */
const KEPT = new Set(['tools', 'tool_choice', 'parallel_tool_calls', 'stream_options', 'max_tokens', 'user'])

/** The chat completion's name of a field that a provider's error names in its own format. */
export function chatNameOf(api: Api, place: string): string {
  const found = Object.entries(NAMES[api] ?? {}).find(([, name]) => place === name || place.startsWith(`${name}.`))
  return found?.[0] ?? place
}

/**
 * A request in the provider's own format, with what a plan for its chat version leaves off or puts in another way; and
 * the fields left off. The very same where nothing is to be changed.
 */
export function nativeFor(native: NativeRequest, plan: Plan): { native: NativeRequest; dropped: readonly string[] } {
  const changes: Record<string, string | null> = {}
  const dropped: string[] = []
  for (const [field, edit] of plan.edits) {
    const [top = '', inner] = (ownOf(NAMES[native.api], field) ?? field).split('.')
    const span = native.spans.get(top)
    // A value that chat completions tell by another field has its word here.
    const isElsewhere = edit !== null && edit.value !== undefined && edit.name !== field
    if (!span || KEPT.has(field) || KEPT.has(top) || isElsewhere) continue
    const text = changes[top] ?? Buffer.from(native.raw.subarray(span.start, span.end)).toString('utf8')
    const after = inner === undefined ? textOf(edit, text) : within(text, inner, edit)
    if (after === text) continue
    changes[top] = after
    if (edit === null && plan.dropped.includes(field)) dropped.push(inner === undefined ? top : `${top}.${inner}`)
  }
  if (Object.keys(changes).length === 0) return { native, dropped }
  return { native: { ...native, ...withFields(native, changes) }, dropped }
}

const textOf = (edit: Edit | null, text: string) =>
  edit === null ? null : edit.value === undefined ? text : JSON.stringify(edit.value)

/** A type of tool that a model does not take, which the chat version tells as a function; or undefined. */
export function unfitNativeTool(
  { api, raw, spans }: NativeRequest,
  types: readonly string[] | undefined,
): string | undefined {
  const span = spans.get('tools')
  if (api !== 'responses' || !types || types.includes('custom') || !span) return undefined
  const tools: unknown = JSON.parse(Buffer.from(raw.subarray(span.start, span.end)).toString('utf8'))
  return Array.isArray(tools) && tools.some((tool) => isObject(tool) && tool.type === 'custom') ? 'custom' : undefined
}

/** An object's text with one of its fields replaced, or left out. */
function within(text: string, field: string, edit: Edit | null): string {
  const object: unknown = JSON.parse(text)
  if (!isObject(object) || !(field in object) || (edit !== null && edit.value === undefined)) return text
  const { [field]: _, ...rest } = object
  return JSON.stringify(edit === null ? rest : { ...rest, [field]: edit.value })
}
