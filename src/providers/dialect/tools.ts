import type { Dialect } from '../../candidates/dialect.ts'
import type { ChatBody } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'
import type { Facts } from './facts.ts'
import { schemaFor } from './tool-schema.ts'

type Fields = Record<string, unknown>
type Rules = Dialect['tools']

/** Why a model can't be given a request's tools, or undefined. */
export function unfitTools(
  { tools, tool_choice: choice }: ChatBody,
  { hasCustomCalls }: Facts,
  { types, names, unique, choices }: Rules,
): string | undefined {
  if (types && hasCustomCalls && !types.includes('custom')) return 'does not take calls of custom tools'
  if (!Array.isArray(tools) || tools.length === 0) return undefined
  for (const tool of types || names !== undefined ? tools : []) {
    const { type, function: called } = isObject(tool) ? tool : {}
    if (types && !types.includes(String(type))) return `does not take tools of type ${String(type)}`
    const name = isObject(called) ? called.name : undefined
    if (names !== undefined && typeof name === 'string' && !new RegExp(names).test(name))
      return `does not take functions named ${name}`
  }
  if (unique && tools.length > 1) {
    const known = new Set<string>()
    const twin = withoutTwins(tools).find((tool) => known.size === known.add(nameOf(tool)).size)
    if (twin !== undefined) return `does not take two tools named ${nameOf(twin)}`
  }
  const form = formOf(choice)
  if (!choices || form === null || form === 'allowed_tools' || choices.includes(form)) return undefined
  return `does not take tool_choice ${form}`
}

type Form = NonNullable<Rules['choices']>[number]

function formOf(choice: unknown): Form | null {
  if (choice === null || choice === undefined) return null
  return (isObject(choice) ? String(choice.type) : String(choice)) as Form
}

/** `allowed_tools`: only these may be called. Chat completions nest them, Responses do not. */
function allowedOf(choice: unknown): { mode: 'auto' | 'required'; names: ReadonlySet<string> } | null {
  if (!isObject(choice) || choice.type !== 'allowed_tools') return null
  const { mode, tools } = isObject(choice.allowed_tools) ? choice.allowed_tools : choice
  const names = (Array.isArray(tools) ? tools.filter(isObject) : []).map(
    ({ name, function: called, custom }) => [called, custom].find(isObject)?.name ?? name,
  )
  return { mode: mode === 'required' ? 'required' : 'auto', names: new Set(names.map(String)) }
}

export interface Offered {
  tools: readonly unknown[]
  /** Of `tool_choice`; undefined: as it is. */
  choice?: 'auto' | 'required'
  /** Some function was strict, and is no longer. */
  dropped: boolean
}

/** Tools in a model's own terms; the very same where nothing is to be changed. */
export function toolsFor({ tools: given, tool_choice: choice }: ChatBody, rules: Rules): Offered {
  const all = withoutTwins(given ?? [])
  const allowed = rules.choices && !rules.choices.includes('allowed_tools') ? allowedOf(choice) : null
  const tools = allowed ? all.filter((tool) => allowed.names.has(nameOf(tool))) : all
  let changed = allowed !== null || all !== given
  let dropped = false
  const translated = tools.map((tool) => {
    if (!isObject(tool) || !isObject(tool.function)) return tool
    let called = tool.function as Fields
    if (rules.strict === false && 'strict' in called) {
      dropped ||= called.strict === true
      const { strict: _, ...rest } = called
      called = rest
    }
    const { parameters } = called
    const schema = schemaFor(parameters, rules)
    if (schema !== parameters) called = { ...called, parameters: schema }
    if (called === tool.function) return tool
    changed = true
    return { ...tool, function: called }
  })
  return { tools: changed ? translated : (given ?? []), dropped, ...(allowed && { choice: allowed.mode }) }
}

/** Tools of which none is there twice: the very same list where that is so. Of one name, two may differ. */
function withoutTwins(tools: readonly unknown[]): readonly unknown[] {
  const seen = new Map<string, { first: unknown; texts?: Set<string> }>()
  const kept = tools.filter((tool) => {
    const same = seen.get(nameOf(tool))
    if (!same) {
      seen.set(nameOf(tool), { first: tool })
      return true
    }
    same.texts ??= new Set([JSON.stringify(same.first)])
    const before = same.texts.size
    return same.texts.add(JSON.stringify(tool)).size > before
  })
  return kept.length < tools.length ? kept : tools
}

const nameOf = (tool: unknown): string => {
  const { function: called, custom } = isObject(tool) ? tool : {}
  return String([called, custom].find(isObject)?.name)
}
