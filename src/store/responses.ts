/** A response that is kept, so that later requests can refer to it. */
export interface StoredResponse {
  id: string
  /** When it was made, Unix milliseconds: one that is older than its user's erasure is not kept. */
  ts: number
  /** Responses that it goes on from, nearest first; they are kept as long as it is. */
  chain: readonly string[]
  /** Ids by which it is found besides its own: of items whose ids do not tell. */
  items: readonly string[]
  /** Opaque to the store. */
  body: Buffer
}

export interface KeepOptions {
  ttlMs: number
  /** Of all bodies of the tenant; beyond, what was longest not referred to goes. */
  maxBytes: number
}

/** Responses of a tenant's users. Another user's are never found. Methods reject with `StoreError`. */
export interface Responses {
  /** False = not kept: it alone is larger than `maxBytes`, or its user has been erased since. */
  save(tenant: string, user: string, response: StoredResponse, options: KeepOptions): Promise<boolean>
  /** One for each id, in their order; null = there is none. */
  load(tenant: string, user: string, ids: readonly string[]): Promise<(StoredResponse | null)[]>
  /** Ids of the responses that hold these items, in their order; of `StoredResponse.items` only. */
  findItems(tenant: string, user: string, items: readonly string[]): Promise<(string | null)[]>
  /** False = there was none. */
  delete(tenant: string, user: string, id: string): Promise<boolean>
  /** Ids of all, oldest first, in pages. */
  list(tenant: string, user: string): AsyncIterable<string[]>
}

/** By more of its items than these, the last ones, a response is not found. */
export const MAX_ITEMS = 1_024

const HEADER_BYTES = 4

/** Length of the JSON part (uint32, little-endian), JSON of all but the body, the body. */
export function encodeResponse({ body, ...rest }: StoredResponse): Buffer {
  const json = Buffer.from(JSON.stringify(rest))
  const header = Buffer.allocUnsafe(HEADER_BYTES)
  header.writeUInt32LE(json.length)
  return Buffer.concat([header, json, body])
}

export function decodeResponse(value: Uint8Array): StoredResponse {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const end = HEADER_BYTES + bytes.readUInt32LE()
  const rest = JSON.parse(bytes.toString('utf8', HEADER_BYTES, end)) as Omit<StoredResponse, 'body'>
  return { ...rest, body: bytes.subarray(end) }
}
