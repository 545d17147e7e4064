import { LRUCache } from 'lru-cache'
import { userKey } from '../runtime/keys.ts'
import { atMost } from '../runtime/lru.ts'
import type { Recorder } from '../store/recorder/recorder.ts'
import type { Learner } from './learner.ts'
import type { Lengths } from './lengths.ts'

/** Which users were erased lately, so that an answer that was on its way then leaves nothing behind. */
export class Erasures {
  readonly #at = new LRUCache<string, number>(atMost(10_000))

  note(tenant: string, user: string, at: number): void {
    this.#at.set(userKey(tenant, user), at)
  }

  /** @param since Unix milliseconds: when the request came */
  happened(tenant: string, user: string, since: number): boolean {
    if (this.#at.size === 0) return false
    return (this.#at.get(userKey(tenant, user)) ?? Number.NEGATIVE_INFINITY) >= since
  }
}

export interface ForgetDeps {
  erasures: Erasures
  recorder: Recorder
  learner: Learner
  lengths: Pick<Lengths, 'forget'>
}

/** Erases a user, also from memory and from what is in flight. @returns how many rows went. @throws StoreError */
export async function forgetUser(
  { erasures, recorder, learner, lengths }: ForgetDeps,
  tenant: string,
  user: string,
): Promise<number> {
  erasures.note(tenant, user, Date.now())
  recorder.forget(tenant, user)
  await recorder.flush(tenant)
  await lengths.forget(tenant, user)
  return learner.forgetUser(tenant, user)
}
