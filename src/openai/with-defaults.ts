import type { ChatBody } from './chat.ts'
import { isObject } from './is-object.ts'

type Fields = Readonly<Record<string, unknown>>

/** Field -> another name of the same wish. */
const OTHERWISE: Readonly<Record<string, string>> = {
  max_tokens: 'max_completion_tokens',
  max_completion_tokens: 'max_tokens',
}
/** What of OpenRouter's `reasoning` says how much is thought, as `reasoning_effort` does. */
const AMOUNT = ['effort', 'max_tokens', 'enabled']

/**
 * A candidate's defaults of which a request itself says nothing, under whichever name.
 *
 * @param renamed what the candidate's provider calls a field
 */
export function defaultsFor(
  given: Fields,
  defaults: Fields = {},
  renamed = (_: string): string | undefined => undefined,
) {
  return Object.fromEntries(
    Object.entries(defaults).flatMap(([field, value]) => {
      const names = [OTHERWISE[field], renamed(field)].filter((name) => name !== undefined && name !== field)
      if (Object.hasOwn(given, field) || names.some((name) => isThere(given[name as string]))) return []
      if (field === 'reasoning_effort' && isObject(given.reasoning) && saysAmount(given.reasoning)) return []
      if (field !== 'reasoning' || !isThere(given.reasoning_effort) || !isObject(value)) return [[field, value]]
      const rest = Object.entries(value).filter(([name]) => !AMOUNT.includes(name))
      return rest.length > 0 ? [[field, Object.fromEntries(rest)]] : []
    }),
  )
}

/** The request with the candidate's defaults; its own fields win. */
export const withDefaults = (given: ChatBody, defaults: Fields | undefined): ChatBody => ({
  ...defaultsFor(given, defaults),
  ...given,
})

const saysAmount = (reasoning: Fields) => AMOUNT.some((name) => isThere(reasoning[name]))
const isThere = (value: unknown) => value !== undefined && value !== null
