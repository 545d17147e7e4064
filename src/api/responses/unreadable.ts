import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { InputItem } from '../../openai/responses/items.ts'
import { atMost } from '../../runtime/lru.ts'

const MAX_ITEMS = 50_000

/**
 * Thoughts that a candidate's provider has refused to read. A client without state sends them again with each request,
 * and each would be refused once more.
 */
export class UnreadableThoughts {
  readonly #known = new LRUCache<string, true>(atMost(MAX_ITEMS))

  has(candidate: string, item: InputItem): boolean {
    return this.#known.size > 0 && Boolean(item.encrypted_content) && this.#known.has(keyOf(candidate, item))
  }

  note(candidate: string, items: readonly InputItem[]): void {
    for (const item of items) if (item.encrypted_content) this.#known.set(keyOf(candidate, item), true)
  }
}

const keyOf = (candidate: string, { encrypted_content: text }: InputItem) =>
  `${candidate}\0${hash('sha256', String(text), 'base64url')}`
