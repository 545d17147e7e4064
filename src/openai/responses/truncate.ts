import { estimateTokens } from '../estimate-tokens.ts'
import { type InputItem, partsOf } from './items.ts'

/** Of the room that is left, for what an estimate of tokens does not see. */
const FILLED = 0.9
const TOKENS_PER_IMAGE = 765

/**
 * The conversation without its oldest items, so far as it is too long (`truncation: auto`). Instructions stay, and what
 * the user said last; a turn of the model goes as a whole, with the results of its calls.
 *
 * @param tokensOf estimated, of the whole request with these items
 * @param most tokens that it may have
 */
export function truncated(
  items: readonly InputItem[],
  tokensOf: (items: readonly InputItem[]) => number,
  most: number,
): readonly InputItem[] {
  let tokens = tokensOf(items)
  if (tokens <= most) return items
  const groups = groupsOf(items)
  const kept = new Set([groups.at(-1), groups[items.findLastIndex(({ role }) => role === 'user')]])
  const oldest = [...new Set(groups)].filter((group) => group !== null && !kept.has(group))
  const itemsOf = Map.groupBy(items, (_, index) => groups[index] ?? null)
  const left = new Set<number | null>()
  const rest = () => items.filter((_, index) => !left.has(groups[index] ?? null))
  while (tokens > most && oldest.length > 0) {
    let excess = tokens - most * FILLED
    for (let group = oldest.shift(); group !== undefined; group = oldest.shift()) {
      left.add(group)
      for (const item of itemsOf.get(group) ?? []) excess -= estimateOf(item)
      if (excess <= 0) break
    }
    tokens = tokensOf(rest())
  }
  return rest()
}

/** Which items go together, by the number of a group; null for those that never go. */
function groupsOf(items: readonly InputItem[]): (number | null)[] {
  const ofCalls = new Map<string, number>()
  let latest = -1
  let isModels = false
  return items.map((item) => {
    const { type, role, call_id: call } = item
    if (type === 'message' && (role === 'system' || role === 'developer')) return null
    if (type.endsWith('_output')) {
      const group = call === undefined ? undefined : ofCalls.get(call)
      isModels = false
      return group ?? ++latest
    }
    const isOfUser = type === 'message' && role !== 'assistant'
    if (isOfUser || !isModels) latest++
    isModels = !isOfUser
    if (call !== undefined) ofCalls.set(call, latest)
    return latest
  })
}

function estimateOf(item: InputItem): number {
  const images = [item.content, item.output].flatMap(partsOf).filter(({ type }) => type === 'input_image')
  const chars =
    Buffer.byteLength(JSON.stringify(item)) - images.reduce((sum, one) => sum + JSON.stringify(one).length, 0)
  return estimateTokens(chars) + images.length * TOKENS_PER_IMAGE
}
