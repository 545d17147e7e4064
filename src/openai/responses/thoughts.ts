import { isObject } from '../is-object.ts'

/** What a model thought, as it must get it back: in the words of its provider's chat completions. */
export interface Thoughts {
  reasoning_content?: string
  reasoning_details?: Record<string, unknown>[]
  calls?: CallThoughts
}

/** Fields of tool calls, by the calls' ids. */
export type CallThoughts = Record<string, Record<string, unknown>>

/** Makes of thoughts a text that nobody but the gateway can read, and back. */
export interface ThoughtSeal {
  seal(candidate: string, thoughts: Thoughts): string
  /**
   * Null where it is not ours, or was sealed for another candidate or tenant.
   *
   * @param room bytes that all thoughts of a request may have; what these take is taken off
   * @throws UnsupportedRequest where they take more
   */
  open(candidate: string, text: string, room: { left: number }): Thoughts | null
  /** Whether a text was made by a gateway. */
  isSealed(text: string): boolean
}

/** Adds the details of one event to those before it: OpenRouter sends each of them in pieces, told apart by `index`. */
export function addDetails(all: Record<string, unknown>[], next: readonly unknown[]): void {
  for (const detail of next) {
    if (!isObject(detail)) continue
    const same = all.find((one) => one.type === detail.type && one.index === detail.index)
    if (!same || detail.index === undefined) {
      all.push({ ...detail })
      continue
    }
    for (const [key, value] of Object.entries(detail)) {
      if (key === 'text' || key === 'summary' || key === 'data') same[key] = `${same[key] ?? ''}${value ?? ''}`
      else if (value !== null && value !== undefined) same[key] = value
    }
  }
}

/** What of a detail can be read. */
export const detailText = (detail: unknown): string => {
  const { text, summary } = isObject(detail) ? detail : {}
  return typeof text === 'string' ? text : typeof summary === 'string' ? summary : ''
}
