import type { StoredUser } from './store/store.ts'

/** What we know of a user, as a request needs it: a cached view of `StoredUser`. */
export interface UserProfile {
  /** Null: cold start. */
  state: Float32Array | null
  rewards: number
  preferences: StoredUser['preferences']
  /** The store did not say who this is: treated as a new user for now. */
  degraded: boolean
}

export const NEW_USER: UserProfile = { state: null, rewards: 0, preferences: {}, degraded: false }
export const UNKNOWN_USER: UserProfile = { ...NEW_USER, degraded: true }

/** Adds a reward's message to a user's sums: what was known fades by `forget` first. */
export function addMessage(sums: Float32Array, message: Float32Array, forget: number): Float32Array {
  return sums.map((sum, i) => sum * forget + (message[i] as number))
}

/** Takes a message out again that has been added `age` rewards ago. */
export function subtractMessage(sums: Float32Array, message: Float32Array, forget: number, age: number): Float32Array {
  const faded = forget ** age
  return sums.map((sum, i) => sum - faded * (message[i] as number))
}

export const isFiniteVector = (vector: Float32Array) => vector.every(Number.isFinite)
