import { type Candidate, spokenBy } from '../../candidates/candidate.ts'
import type { Dialect, FieldRule } from '../../candidates/dialect.ts'
import { UnsupportedRequest } from '../../errors.ts'
import type { ChatRequest } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'
import { ownOf } from '../../runtime/own.ts'
import { type Facts, factsOf } from './facts.ts'
import { formatFor } from './formats.ts'
import { bringsThoughts } from './history.ts'
import type { Learned } from './learned.ts'
import { DOCUMENTED, isIdle, isNeutral } from './neutral.ts'
import { unfitTools } from './tools.ts'

/** What a candidate's dialect makes of a request's top-level fields. */
export interface Plan {
  /** Field -> its new name and value, or null: left off. */
  edits: ReadonlyMap<string, Edit | null>
  /** Fields left off that said something. */
  dropped: readonly string[]
}

export interface Edit {
  name: string
  /** The client's own bytes where undefined. */
  value?: unknown
}

const NO_PLAN: Plan = { edits: new Map(), dropped: [] }

/**
 * What is to be done so that a candidate takes a request, or why it can't.
 *
 * @param strict nothing may be left off
 * @param obeyed what the candidate does not take stays as it is, where leaving it off would change the answer
 */
export function planOf(
  request: ChatRequest,
  dialect: Dialect | undefined,
  learned: Learned | undefined,
  strict: boolean,
  obeyed = false,
): Plan | string {
  const facts = factsOf(request)
  const { onlyFor = null } = dialect ?? {}
  if (onlyFor && !obeyed && ![...request.needs].some((need) => onlyFor.includes(need))) {
    return `takes only requests for ${onlyFor.join(' or ')}`
  }
  if (facts.isPlain && !learned) return NO_PLAN
  const unfit = obeyed ? undefined : unfitAsWhole(request, facts, dialect, learned)
  if (unfit) return unfit
  if (facts.fields.length === 0) return NO_PLAN
  let edits: Map<string, Edit | null> | null = null
  let dropped: string[] | null = null
  for (const field of facts.fields) {
    const value = request.body[field]
    if (isIdle(field, value, request.body)) {
      edits ??= new Map()
      edits.set(field, null)
      continue
    }
    const rule = learned?.ruleFor(field, value, request.body) ?? dialectRule(dialect, field)
    if (field === 'response_format' && dialect && (rule === undefined || rule === 'keep')) {
      const { format, unfit } = formatFor(request.body, dialect.formats)
      if (unfit !== undefined && !obeyed) return unfit
      if (format === value) continue
      edits ??= new Map()
      edits.set(field, { name: field, value: format })
      continue
    }
    if (rule === undefined || rule === 'keep') continue
    const judged = judge(field, value, rule, request.body)
    const verdict = judged === 'unfit' && obeyed ? asCalled(field, rule) : judged
    if (verdict === 'as it is') continue
    if (verdict === 'unfit') return `does not take ${field}${said(value)}`
    edits ??= new Map()
    if (verdict === 'dropped') {
      if (strict) return `does not take ${field}${said(value)}`
      dropped ??= []
      dropped.push(field)
      edits.set(field, null)
    } else if (verdict === 'left off') edits.set(field, null)
    // Told in its words it would be refused again.
    else if (learned?.ruleFor(verdict.name, verdict.value ?? value, request.body) === 'drop') {
      if (strict) return `does not take ${field}${said(value)}`
      dropped ??= []
      dropped.push(field)
      edits.set(field, null)
    }
    // Under its other name it is there already.
    else edits.set(field, verdict.name !== field && request.spans.has(verdict.name) ? null : verdict)
  }
  return edits === null ? NO_PLAN : { edits, dropped: dropped ?? [] }
}

const dialectRule = (dialect: Dialect | undefined, field: string) =>
  ownOf(dialect?.fields, field) ?? (DOCUMENTED.has(field) ? undefined : dialect?.fields['*'])

function judge(
  field: string,
  value: unknown,
  rule: FieldRule,
  body: Readonly<Record<string, unknown>>,
): 'as it is' | 'unfit' | 'dropped' | 'left off' | Edit {
  if (rule === 'keep') return 'as it is'
  if (typeof rule === 'string') {
    if (isNeutral(field, value)) return 'left off'
    return rule === 'drop' ? 'dropped' : 'unfit'
  }
  const name = rule.rename ?? field
  if (rule.not_with?.some((other) => !isNeutral(other, body[other]))) {
    if (isNeutral(field, value)) return 'left off'
    return rule.otherwise === 'avoid' ? 'unfit' : 'dropped'
  }
  const [other] = typeof value === 'string' ? Object.entries(ownOf(rule.instead, value) ?? {}) : []
  if (other) return { name: other[0], value: other[1] }
  const mapped = typeof value !== 'object' ? ownOf(rule.map, String(value)) : undefined
  if (mapped !== undefined) return { name, value: mapped }
  if (value === null || value === undefined || isTaken(value, rule)) return name === field ? 'as it is' : { name }
  if (rule.otherwise === 'clamp' && typeof value === 'number') {
    return { name, value: Math.min(rule.max ?? value, Math.max(rule.min ?? value, value)) }
  }
  if (isNeutral(field, value)) return 'left off'
  return rule.otherwise === 'drop' ? 'dropped' : 'unfit'
}

/** Whatever it is worth, under the name by which it is known there. */
const asCalled = (field: string, rule: FieldRule): 'as it is' | Edit =>
  typeof rule === 'object' && rule.rename !== undefined && rule.rename !== field ? { name: rule.rename } : 'as it is'

function isTaken(value: unknown, { values, min, max, pattern, max_items: items }: Exclude<FieldRule, string>): boolean {
  if (values && !values.includes(value as string)) return false
  if (typeof value === 'number' && (value < (min ?? value) || value > (max ?? value))) return false
  if (pattern !== undefined && ![value].flat().every((text) => new RegExp(pattern).test(String(text)))) return false
  return !(Array.isArray(value) && items !== undefined && value.length > items)
}

const said = (value: unknown) => (typeof value === 'number' || typeof value === 'boolean' ? ` = ${value}` : '')

const unfitAsWhole = (request: ChatRequest, facts: Facts, dialect: Dialect | undefined, learned: Learned | undefined) =>
  (dialect &&
    (unfitMessages(facts, dialect, learned, request.format !== undefined) ??
      unfitTools(request.body, facts, dialect.tools))) ??
  learned?.unfit(request, facts)

/** @param isConverted from another format: its converter tells what a user says after a tool's result within that */
function unfitMessages(
  facts: Facts,
  dialect: Dialect,
  learned: Learned | undefined,
  isConverted: boolean,
): string | undefined {
  for (const role of facts.roles)
    if (ownOf(dialect.roles, role) === 'avoid') return `does not take messages of role ${role}`
  for (const part of facts.parts)
    if (ownOf(dialect.parts, part) === 'avoid') return `does not take content parts of type ${part}`
  for (const field of facts.messageFields) {
    if (ownOf(dialect.messageFields, field) === 'avoid') return `does not take ${field} in messages`
  }
  if (!facts.isSaid && dialect.turns.blank === 'drop') return 'needs a message that says something'
  if (facts.endsWithAssistant && dialect.prefill === 'avoid') return "does not go on with an assistant's message"
  if (facts.hasUserAfterTool && dialect.userAfterTool === 'avoid' && !isConverted) {
    return "does not take a user's message right after a tool's"
  }
  if (facts.hasPartsInTools && dialect.turns.tool_parts === 'after' && dialect.userAfterTool === 'avoid') {
    return "does not take pictures in a tool's result"
  }
  const { callsNeed } = dialect
  if (callsNeed !== null && !facts.calling.every((message) => bringsThoughts(message, callsNeed, dialect, learned)))
    return 'can not read the tool calls of another model'
  const need = dialect.loopNeeds
  if (need === null) return undefined
  const reads = facts.loop.every(
    (message) => bringsThoughts(message, need, dialect, learned) || firstCallHas(message.tool_calls, need),
  )
  return reads ? undefined : 'can not read the tool calls of another model'
}

/** Calls made at once carry it once (Gemini). */
function firstCallHas(calls: unknown, field: string): boolean {
  const first: unknown = Array.isArray(calls) ? calls[0] : null
  return isObject(first) && first[field] !== undefined && first[field] !== null
}

/**
 * Why candidates can't take a request without a loss, or undefined: asked for one after the other. Those that speak the
 * same dialect, and of which nothing more is known, are judged once.
 */
export function unfitFrom(
  request: ChatRequest,
  strict: boolean,
): (candidate: Candidate, learned: Learned | undefined) => string | undefined {
  const judged = new Map<Dialect, string | undefined>()
  return (candidate, learned) => {
    const dialect = spokenBy(candidate, request)
    // In its provider's own format a request is that provider's business.
    if ((!dialect && !learned) || (request.format && candidate.apis?.has(request.format))) return undefined
    // The thoughts without which it can't go on are in what it alone gets.
    const { loop, calling } = factsOf(request)
    const asksOwn = (dialect?.loopNeeds && loop.length > 0) || (dialect?.callsNeed && calling.length > 0)
    if (asksOwn || learned || !dialect) return unfit(request, candidate, dialect, learned, strict, Boolean(asksOwn))
    if (judged.has(dialect)) return judged.get(dialect)
    const why = unfit(request, candidate, dialect, undefined, strict, false)
    judged.set(dialect, why)
    return why
  }
}

/** @param asksOwn it is asked in a request of its own */
function unfit(
  request: ChatRequest,
  candidate: Candidate,
  dialect: Dialect | undefined,
  learned: Learned | undefined,
  strict: boolean,
  asksOwn: boolean,
): string | undefined {
  try {
    const own = asksOwn ? request.forCandidate?.(candidate) : undefined
    const plan = planOf(own ?? request, dialect, learned, strict)
    return typeof plan === 'string' ? plan : undefined
  } catch (error) {
    if (error instanceof UnsupportedRequest) return error.message
    throw error
  }
}
