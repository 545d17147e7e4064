import { isObject } from '../../../../openai/is-object.ts'

type Fields = Record<string, unknown>
type Kind = 'message' | 'reasoning' | 'call' | 'other'

/** What has been told of an item of the output. */
export interface Told {
  readonly kind: Kind
  callId: string | null
  hasId: boolean
  /** Of its words, its refusal and its thoughts. */
  text: boolean
  refusal: boolean
  thoughts: boolean
  /** Position among the calls. */
  call: number | null
  input: boolean
  isDone: boolean
}

/**
 * Items of a stream by what a server tells of them: ids, else `output_index`, else their order. Some leave the index
 * out or count otherwise than in the whole response, others give one item another id with each event.
 */
export class ToldItems {
  readonly #all: Told[] = []
  readonly #byId = new Map<string, Told>()
  readonly #byIndex = new Map<unknown, Told>()

  /** The item that an event is about. */
  of({ output_index: index, item_id: id, item }: Fields, kind: Kind): Told {
    const ids = idsOf(isObject(item) ? item : {}, id)
    const callId = callIdOf(item)
    const told = this.#known(ids, index, kind, callId) ?? this.#add(kind)
    told.callId ??= callId
    told.hasId ||= ids.length > 0
    for (const one of ids) this.#byId.set(one, told)
    if (typeof index === 'number') this.#byIndex.set(index, told)
    return told
  }

  /** The items of the whole response, each with what has been told of it: the surest signs first. */
  ofAll(items: readonly Fields[]): Told[] {
    const claimed = new Set<Told>()
    const found: (Told | undefined)[] = items.map(() => undefined)
    const isFree = (told: Told | undefined, item: Fields): told is Told =>
      told !== undefined && !claimed.has(told) && isSame(told, kindOf(item), callIdOf(item))
    const signs = [
      (item: Fields) => idsOf(item).map((id) => this.#byId.get(id)),
      (_: Fields, index: number) => [this.#byIndex.get(index)],
      () => this.#all,
    ]
    for (const sign of signs) {
      items.forEach((item, index) => {
        if (found[index]) return
        const told = sign(item, index).find((one) => isFree(one, item))
        if (told) claimed.add(told)
        found[index] = told
      })
    }
    return found.map((told, index) => told ?? this.#add(kindOf(items[index] as Fields)))
  }

  #known(ids: readonly string[], index: unknown, kind: Kind, callId: string | null): Told | undefined {
    const byId = ids.map((id) => this.#byId.get(id)).find((one) => one?.kind === kind)
    if (byId) return byId
    if (typeof index === 'number') {
      const at = this.#byIndex.get(index)
      return at && isSame(at, kind, callId) ? at : undefined
    }
    const last = this.#all.findLast((one) => one.kind === kind)
    if (!last || last.isDone || !isSame(last, kind, callId)) return undefined
    return ids.length === 0 || !last.hasId ? last : undefined
  }

  #add(kind: Kind): Told {
    const nothing = { text: false, refusal: false, thoughts: false, call: null, input: false, isDone: false }
    const told = { kind, callId: null, hasId: false, ...nothing }
    this.#all.push(told)
    return told
  }
}

export function kindOf({ type }: Fields): Kind {
  if (type === 'function_call' || type === 'custom_tool_call') return 'call'
  return type === 'message' || type === 'reasoning' ? type : 'other'
}

/** Ids of calls come back with their results, so they stay the same. */
const isSame = (told: Told, kind: Kind, callId: string | null) =>
  told.kind === kind && (callId === null || told.callId === null || told.callId === callId)

const callIdOf = (item: unknown): string | null =>
  isObject(item) && typeof item.call_id === 'string' && item.call_id !== '' ? item.call_id : null

const idsOf = ({ id, call_id: callId }: Fields, itemId?: unknown): string[] =>
  [id, itemId, callId].filter((one) => typeof one === 'string' && one !== '') as string[]
