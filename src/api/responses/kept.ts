import { setImmediate as nextTurn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { constants, deflateRaw, inflateRaw } from 'node:zlib'
import { LARGE_BYTES } from '../../openai/parse-thread.ts'
import { type InputItem, itemId, kindOf, responseOfItem } from '../../openai/responses/items.ts'
import type { ResponseResource } from '../../openai/responses/resource.ts'
import { quotedIn, serialised } from '../../openai/serialised.ts'
import type { RequestContext } from '../../pipeline/context.ts'
import type { Seal } from '../../runtime/seal.ts'
import type { Responses, StoredResponse } from '../../store/responses.ts'

const compress = promisify(deflateRaw)
const decompress = promisify(inflateRaw)

/** A response and what it answered, as they are kept. */
export interface KeptResponse {
  response: ResponseResource
  /** What this request added to the conversation; nothing in it refers to anything else. */
  input: InputItem[]
  /** Who answered. */
  candidate: string
  /** The candidate's provider made the response, and may know it by its id. */
  native: boolean
  /** Key of the conversation's state: whoever goes on from here is in the same. */
  turnKey: string
}

/** Where a user's responses are looked up, and what they are sealed with. */
export interface Shelf {
  responses: Responses
  seal: Seal
  tenant: string
  user: string
  /** Called with the size of each that is loaded, where they are kept in memory. @throws GatewayError too much is */
  onLoad?(bytes: number): void
}

/** Counts what is loaded for a request among the bytes that it holds. */
export const heldBy =
  ({ held }: Pick<RequestContext, 'held'>) =>
  (bytes: number): void => {
    const refused = held.take(bytes)
    if (refused) throw refused
  }

/** Responses that are loaded in one go: what is not unpacked yet is not counted. */
const LOADED_AT_ONCE = 16

/**
 * The kept responses of these ids, in their order; null = there is none.
 *
 * @throws StoreError. @throws GatewayError as `onLoad`
 */
export async function loadKept(ids: readonly string[], shelf: Shelf): Promise<(FoundResponse | null)[]> {
  const found: (FoundResponse | null)[] = []
  for (let i = 0; i < ids.length; i += LOADED_AT_ONCE) {
    const rows = await shelf.responses.load(shelf.tenant, shelf.user, ids.slice(i, i + LOADED_AT_ONCE))
    for (const row of rows) {
      const kept = row && (await unpackKept(row, shelf))
      found.push(kept && { ...kept, chain: row.chain })
    }
  }
  return found
}

/** With the responses that it goes on from, nearest first. */
export interface FoundResponse extends KeptResponse {
  chain: readonly string[]
}

const contextOf = (tenant: string, user: string, id: string) => `kept\0${tenant}\0${user}\0${id}`

/** Larger bodies are bounded by the requests that made them, and by the model's answers. */
const MAX_INFLATED_BYTES = 256 * 1024 * 1024

/** Compressed, and sealed: whoever reads the store alone does not read what was said. */
export async function packKept(kept: KeptResponse, { seal, tenant, user }: Shelf): Promise<Buffer> {
  const { raw } = serialised({ ...kept }, await quotedIn(kept))
  const bytes = await compress(raw, { level: constants.Z_BEST_SPEED })
  return seal.seal(bytes, contextOf(tenant, user, kept.response.id))
}

/** Null where it was kept under another identity secret. */
async function unpackKept({ id, body }: StoredResponse, { seal, tenant, user, onLoad }: Shelf) {
  const bytes = seal.open(body, contextOf(tenant, user, id))
  if (!bytes) return null
  const json = await decompress(bytes, { maxOutputLength: MAX_INFLATED_BYTES })
  onLoad?.(json.length)
  if (json.length < LARGE_BYTES) return JSON.parse(json.toString('utf8')) as KeptResponse
  // Each takes tens of milliseconds, and so does what comes next.
  const text = json.toString('utf8')
  await nextTurn()
  const kept = JSON.parse(text) as KeptResponse
  await nextTurn()
  return kept
}

/** Each item has an id by which it is found again. */
export const withIds = (items: readonly InputItem[], response: string): InputItem[] =>
  items.map((item, index) => (item.id ? item : { ...item, id: itemId(kindOf(item.type), response, index, 'i') }))

/** Ids of items that do not tell which response they belong to. */
export const foreignIds = ({ response, input }: Pick<KeptResponse, 'response' | 'input'>): string[] =>
  [...input, ...response.output].flatMap(({ id }) =>
    typeof id === 'string' && isKeepable(id) && responseOfItem(id) !== response.id ? [id] : [],
  )

/** A provider's id may be anything. */
export const isKeepable = (id: unknown): id is string => typeof id === 'string' && /^[\x21-\x7e]{1,256}$/.test(id)
