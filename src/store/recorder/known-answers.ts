import { EphemeralMap } from '../../runtime/ephemeral-map.ts'
import { userHash, userKey } from '../../runtime/keys.ts'
import type { InteractionRecord } from '../records/codec.ts'
import { summaryOf } from '../records/summary.ts'
import { type CompletionRef, type InteractionSummary, MAX_COMPLETIONS } from '../store.ts'

/** Answers of this process that feedback finds before the store has them. */
export const MAX_FINDABLE = 5_000

interface Completion {
  interaction: string
  tenant: string
  user: string
  ts: number
}

/** The newest answers of this process, by their ids: those on their way, and those that the store does not have yet. */
export class KnownAnswers {
  readonly #ended = new EphemeralMap<InteractionRecord>(MAX_FINDABLE)
  readonly #open = new EphemeralMap<InteractionSummary>(MAX_FINDABLE)
  /** By their completion ids: also of those that the store has by now. */
  readonly #completions = new EphemeralMap<Completion[]>(MAX_FINDABLE)

  /** An answer is on its way. */
  open(summary: InteractionSummary): void {
    this.#open.set(userKey(summary.tenant, summary.id), summary)
    if (summary.completionId) this.#addCompletion(summary, summary.completionId)
  }

  /** @returns the summary, where this names it: the client's own name stays */
  nameCompletion(tenant: string, id: string, completionId: string): InteractionSummary | null {
    const summary = this.#open.get(userKey(tenant, id))
    if (!summary || summary.completionId) return null
    summary.completionId = completionId
    this.#addCompletion(summary, completionId)
    return summary
  }

  end(record: InteractionRecord): void {
    const { tenant, id, completionId } = record
    const key = userKey(tenant, id)
    this.#open.delete(key)
    this.#ended.set(key, record)
    if (completionId !== null) this.#addCompletion(record, completionId)
  }

  /** The store has it. */
  leaveToStore({ tenant, id }: { tenant: string; id: string }): void {
    this.#ended.delete(userKey(tenant, id))
  }

  isOpen({ tenant, id }: { tenant: string; id: string }): boolean {
    return this.#open.has(userKey(tenant, id))
  }

  find(tenant: string, id: string): InteractionSummary | null {
    const key = userKey(tenant, id)
    const ended = this.#ended.get(key)
    return ended ? summaryOf(ended) : (this.#open.get(key) ?? null)
  }

  /** The newest first. */
  findCompletions(tenant: string, completionId: string): CompletionRef[] {
    return (this.#completions.get(userKey(tenant, completionId)) ?? []).map(({ interaction, user, ts }) => {
      return { interaction, user: userHash(user), ts }
    })
  }

  forget(tenant: string, user: string): void {
    const isTheirs = (one: { tenant: string; user: string }) => one.tenant === tenant && one.user === user
    for (const map of [this.#ended, this.#open]) {
      for (const [key, one] of map) if (isTheirs(one)) map.delete(key)
    }
    for (const [key, [first, ...more]] of this.#completions) {
      if (first && [first, ...more].some(isTheirs)) {
        this.#completions.set(
          key,
          [first, ...more].filter((one) => !isTheirs(one)),
        )
      }
    }
  }

  #addCompletion({ tenant, id, user, ts }: Pick<InteractionSummary, 'tenant' | 'id' | 'user' | 'ts'>, name: string) {
    const key = userKey(tenant, name)
    const known = this.#completions.get(key)
    if (known?.some(({ interaction }) => interaction === id)) return
    const one = { interaction: id, tenant, user, ts }
    this.#completions.set(key, known ? [one, ...known].slice(0, MAX_COMPLETIONS) : [one])
  }
}
