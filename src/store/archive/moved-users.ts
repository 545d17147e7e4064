import { z } from 'zod'
import type { Move } from '../store.ts'

/** Present ids by tenants and former ids. */
const schema = z.record(z.string(), z.record(z.string(), z.string()))

/** Users who have got another id since rows of them were archived: a file has the ids of its time. */
export class MovedUsers {
  readonly #tenants: Map<string, Map<string, string>>
  hasChanged = false

  private constructor(tenants: Map<string, Map<string, string>>) {
    this.#tenants = tenants
  }

  /** @param text of `toJson`; null: nobody. @throws where it is none */
  static parse(text: string | null): MovedUsers {
    const tenants = text === null ? {} : schema.parse(JSON.parse(text))
    return new MovedUsers(new Map(Object.entries(tenants).map(([name, ids]) => [name, new Map(Object.entries(ids))])))
  }

  toJson(): string {
    const some = [...this.#tenants].filter(([, ids]) => ids.size > 0)
    return JSON.stringify(Object.fromEntries(some.map(([name, ids]) => [name, Object.fromEntries(ids)])))
  }

  /** What a store remembers, in which nobody is on the way to a third id. */
  take(moves: readonly Move[]): void {
    for (const { tenant, from, to } of moves) {
      const ids = this.#tenants.get(tenant) ?? new Map<string, string>()
      this.#tenants.set(tenant, ids)
      if (ids.get(from) === to && !ids.has(to)) continue
      // Who gets a former id back has it from now on.
      ids.delete(to)
      ids.set(from, to)
      this.hasChanged = true
    }
  }

  presentId(tenant: string, user: string): string {
    const ids = this.#tenants.get(tenant)
    let present = user
    // In a file that was edited they may lead back.
    for (let [left, next] = [ids?.size ?? 0, ids?.get(user)]; left > 0 && next !== undefined; left--) {
      present = next
      next = ids?.get(present)
    }
    return present
  }

  /** @param isErased told a former id */
  forget(tenant: string, isErased: (former: string) => boolean): void {
    const ids = this.#tenants.get(tenant) ?? new Map<string, string>()
    // All of them first: what one leads to tells whose it was.
    for (const former of [...ids.keys()].filter(isErased)) {
      ids.delete(former)
      this.hasChanged = true
    }
  }
}
