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

/** Adds a reward's message to a user's sums, in place: what was known fades by `forget` first. */
export function addMessage(sums: Float32Array, message: Float32Array, forget: number): void {
  for (let i = 0; i < sums.length; i++) sums[i] = sums[i]! * forget + message[i]!
}

/** Takes a message out again, in place, that was added `age` rewards ago. */
export function subtractMessage(sums: Float32Array, message: Float32Array, forget: number, age: number): void {
  const faded = forget ** age
  for (let i = 0; i < sums.length; i++) sums[i] = sums[i]! - faded * message[i]!
}

/** Ten times as fast as asking each number: x * 0 is 0, but NaN for NaN and for both infinities. */
export function isFiniteVector(vector: Float32Array): boolean {
  let sum = 0
  for (let i = 0; i < vector.length; i++) sum += vector[i]! * 0
  return sum === 0
}
