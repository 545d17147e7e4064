import { LRUCache } from 'lru-cache'

/** Which users were erased lately, so that an answer that was on its way then leaves nothing behind. */
export class Erasures {
  readonly #at = new LRUCache<string, number>({ max: 10_000 })

  note(tenant: string, user: string, at: number): void {
    this.#at.set(`${tenant}\0${user}`, at)
  }

  /** @param since Unix milliseconds: when the request came */
  happened(tenant: string, user: string, since: number): boolean {
    if (this.#at.size === 0) return false
    return (this.#at.get(`${tenant}\0${user}`) ?? Number.NEGATIVE_INFINITY) >= since
  }
}
