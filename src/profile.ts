import type { StoredUser } from './store/store.ts'

/** What we know of a user, as a request needs it: a cached view of `StoredUser`. */
export interface UserProfile {
  /** Null: cold start. */
  state: Float32Array | null
  rewards: number
  preferences: StoredUser['preferences']
}
