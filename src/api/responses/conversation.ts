import { invalidRequest } from '../../errors.ts'
import type { ResponsesRequest } from '../../openai/responses/body.ts'
import { type InputItem, responseOfItem } from '../../openai/responses/items.ts'
import { type FoundResponse, type KeptResponse, loadKept, type Shelf } from './kept.ts'

/** An item, and the candidate whose provider made it, where one did. */
export interface KnownItem {
  item: InputItem
  maker: string | null
}

/** All that a request stands for, with nothing in it that refers to what is kept. */
export interface WholeConversation {
  items: readonly KnownItem[]
  /** The part of it that is new. */
  own: readonly InputItem[]
  /** Responses that it goes on from, nearest first. */
  chain: readonly string[]
  turnKey: string | undefined
  /** The request refers to something that is kept. */
  refers: boolean
  /** The one candidate whose provider knows all that the request refers to, or null. */
  origin: string | null
}

const isReference = ({ type }: InputItem) => type === 'item_reference'

export const refers = ({ body, items }: ResponsesRequest): boolean =>
  (body.previous_response_id ?? null) !== null || items.some(isReference)

/** The conversation of a request that refers to nothing. */
export const alone = ({ items }: ResponsesRequest): WholeConversation => ({
  items: items.map((item) => ({ item, maker: null })),
  own: items,
  chain: [],
  turnKey: undefined,
  refers: false,
  origin: null,
})

/**
 * Looks up what a request refers to: the responses before it, and items of them.
 *
 * @throws GatewayError 400 where this user has no such response or item; StoreError
 */
export async function wholeConversation(request: ResponsesRequest, shelf: Shelf): Promise<WholeConversation> {
  const previous = request.body.previous_response_id ?? null
  const before = previous === null ? { kept: [], chain: [] } : await loadChain(previous, shelf)
  const past = before.kept.flatMap(itemsOf)
  const known = new Set(past.map(({ item }) => item.id))
  const referred = await resolve(request.items, known, shelf)
  const makers = new Set([...before.kept, ...referred.from].map(makerOf))
  return {
    items: [...past, ...referred.items],
    own: referred.items.map(({ item }) => item),
    chain: before.chain,
    turnKey: before.kept.at(-1)?.turnKey ?? referred.from[0]?.turnKey,
    refers: true,
    origin: makers.size === 1 ? ([...makers][0] ?? null) : null,
  }
}

const makerOf = ({ native, candidate }: KeptResponse) => (native ? candidate : null)

const itemsOf = (kept: KeptResponse): KnownItem[] => [
  ...kept.input.map((item) => ({ item, maker: null })),
  ...kept.response.output.map((item) => ({ item, maker: makerOf(kept) })),
]

/** The responses before this request, oldest first. */
async function loadChain(previous: string, shelf: Shelf): Promise<{ kept: KeptResponse[]; chain: string[] }> {
  const [last] = await loadKept([previous], shelf)
  if (!last) throw notFound(previous)
  const earlier = await loadKept(last.chain, shelf)
  const missing = earlier.indexOf(null)
  if (missing >= 0) throw notFound(last.chain[missing] ?? previous)
  const kept = [last, ...earlier].filter((one) => one !== null).reverse()
  return { kept, chain: [previous, ...last.chain] }
}

/** References become the items that they stand for; what the conversation holds already is not said twice. */
async function resolve(
  items: readonly InputItem[],
  known: ReadonlySet<unknown>,
  shelf: Shelf,
): Promise<{ items: KnownItem[]; from: KeptResponse[] }> {
  const wanted = items.filter(isReference).map(({ id }) => String(id))
  const missing = wanted.filter((id) => !known.has(id))
  const holders = new Map(missing.map((id) => [id, responseOfItem(id)]))
  const others = missing.filter((id) => holders.get(id) === null)
  const found = await shelf.responses.findItems(shelf.tenant, shelf.user, others)
  for (const [i, id] of others.entries()) holders.set(id, found[i] ?? null)
  const ids = [...new Set(holders.values())].filter((id) => id !== null)
  const from: FoundResponse[] = (await loadKept(ids, shelf)).filter((one) => one !== null)
  const byId = new Map(from.flatMap(itemsOf).map((one) => [one.item.id, one]))
  const resolved = items.flatMap((item, index): KnownItem[] => {
    if (!isReference(item)) return [{ item, maker: null }]
    if (known.has(item.id)) return []
    const one = byId.get(item.id)
    if (!one) {
      throw invalidRequest(`Item with id '${shown(item.id)}' not found.`, `input.${index}.id`, 'item_not_found')
    }
    return [one]
  })
  return { items: resolved, from }
}

const notFound = (id: string) =>
  invalidRequest(
    `Previous response with id '${shown(id)}' not found.`,
    'previous_response_id',
    'previous_response_not_found',
  )

const shown = (id: unknown) =>
  String(id)
    .slice(0, 64)
    .replace(/[^\x20-\x7e]/g, '?')
