import { saysError } from './error.ts'
import { BROKE, isFailure } from './finish-reason.ts'
import { isObject } from './is-object.ts'
import type { LargeFacts, PlainFacts } from './stream-observer.ts'

/** The error that an answer with status 200 tells, in its body or its only choice; null where it tells none. */
export function errorInAnswer(json: unknown): { error: unknown } | null {
  const outer = Array.isArray(json) ? json[0] : json
  if (!isObject(outer)) return null
  const choices: unknown[] = Array.isArray(outer.choices) ? outer.choices : []
  if (choices.length === 0) return saysError(outer.error) ? { error: outer.error } : null
  const [choice] = choices
  if (!isObject(choice) || choices.length !== 1 || !isFailure(choice.finish_reason)) return null
  return { error: saysError(choice.error) ? choice.error : { message: BROKE, code: choice.finish_reason } }
}

/** The error of an answer, else what is to be known of it. */
export function largeFacts(json: unknown, factsOf: (json: unknown) => PlainFacts | null): LargeFacts {
  const told = errorInAnswer(json)
  return told ? { facts: null, ...told } : { facts: factsOf(json) }
}
