import type { UserStateVector } from '../routing/model/packed-state.ts'
import type { StoredUser } from '../store/store.ts'

/** What we know of a user, as a request needs it: a cached view of `StoredUser`. */
export interface UserProfile {
  /** Null: cold start. */
  state: UserStateVector | null
  rewards: number
  /** Of what is stored; 0: nothing is. */
  revision: number
  /** Unix milliseconds at which the store knows that they were here; 0 = it does not know them. */
  seenAt: number
  preferences: StoredUser['preferences']
  /** The store did not say who this is: treated as a new user for now. */
  degraded: boolean
}

export const NEW_USER: UserProfile = {
  state: null,
  rewards: 0,
  revision: 0,
  seenAt: 0,
  preferences: {},
  degraded: false,
}
export const UNKNOWN_USER: UserProfile = { ...NEW_USER, degraded: true }

/**
 * A user's sums lie in blocks of `message.length` numbers, the newest first: so that a change of taste can be found in
 * them (router-model/ARTIFACT.md). Which block of rewards the `seq`-th belongs to, counted from the first reward.
 */
export const blockOf = (seq: number, block: number): number => Math.floor((seq - 1) / block)

/**
 * Starts so many new blocks, in place: what leaves the last block but one joins the last. `size`: numbers in a block.
 */
export function startBlocks(sums: Float32Array, size: number, count: number): void {
  const last = sums.length - size
  for (let step = 0; step < count && step * size < last; step++) {
    for (let i = 0; i < size; i++) sums[last + i]! += sums[last - size + i]!
    sums.copyWithin(size, 0, last - size)
    sums.fill(0, 0, size)
  }
}

/** Adds a reward's message to the newest block of a user's sums, in place: what was known fades by `forget` first. */
export function addMessage(sums: Float32Array, message: Float32Array, forget: number): void {
  if (forget !== 1) for (let i = 0; i < sums.length; i++) sums[i]! *= forget
  for (let i = 0; i < message.length; i++) sums[i]! += message[i]!
}

/** What is kept of sums: of a user of few rewards most blocks are empty. A view, not a copy. */
export function withoutZerosAtEnd(sums: Float32Array): Float32Array {
  let length = sums.length
  while (length > 0 && sums[length - 1] === 0) length--
  return sums.subarray(0, length)
}

/** Ten times as fast as asking each number: x * 0 is 0, but NaN for NaN and for both infinities. */
export function isFiniteVector(vector: Float32Array): boolean {
  let sum = 0
  for (let i = 0; i < vector.length; i++) sum += vector[i]! * 0
  return sum === 0
}
