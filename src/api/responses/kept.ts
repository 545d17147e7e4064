import { promisify } from 'node:util'
import { constants, deflateRaw, inflateRaw } from 'node:zlib'
import { type InputItem, itemId, kindOf, responseOfItem } from '../../openai/responses/items.ts'
import type { ResponseResource } from '../../openai/responses/resource.ts'
import type { StoredResponse } from '../../store/responses.ts'

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

/** Larger bodies are bounded by the requests that made them, and by the model's answers. */
const MAX_INFLATED_BYTES = 256 * 1024 * 1024

export const packKept = (kept: KeptResponse): Promise<Buffer> =>
  compress(Buffer.from(JSON.stringify(kept)), { level: constants.Z_BEST_SPEED })

export async function unpackKept({ body }: StoredResponse): Promise<KeptResponse> {
  const json = await decompress(body, { maxOutputLength: MAX_INFLATED_BYTES })
  return JSON.parse(json.toString('utf8')) as KeptResponse
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
