import { PLAIN, plainState } from '../../store/plain-state.ts'
import { deviationsOf, MAX_INT16, meanBytes, widthOf, writeMean } from './gaussian.ts'
import { LOW_RANK, writeLowRank } from './low-rank.ts'
import { packRows, ROWS, writeRows } from './state-rows.ts'

/**
 * A user's state as it is kept, in the store and in memory: of a Gaussian belief (K means, then a symmetric K x K
 * covariance, as router-model/ARTIFACT.md has it) all entries are kept within 1e-4 of their scale; of anything
 * else, and of what is not finite, the float32 numbers themselves.
 *
 * - `ROWS`: by its difference to a new user's, in the fewest bytes;
 * - `CORRELATIONS`: means by that difference, standard deviations (float32), and correlations as 16 bits each: quick to
 *   read;
 * - `LOW_RANK`: as earlier versions keep it;
 * - `PLAIN`: float32.
 *
 * All little-endian.
 */
const CORRELATIONS = 1

/** Unpacked only when it is scored: a user in memory is mostly one who waits. */
export class PackedState {
  bytes: Uint8Array
  readonly #cold: Float32Array

  /** @param cold a new user's state under the same artifact */
  constructor(bytes: Uint8Array, cold: Float32Array) {
    this.bytes = bytes
    this.#cold = cold
  }

  /** S */
  get length(): number {
    return this.#cold.length
  }

  /** @throws RangeError where the bytes are not those of such a state */
  writeTo(target: Float32Array, at: number): void {
    const known = opened.find(({ of }) => of === this)
    if (known) target.set(known.numbers, at)
    else this.#unpackTo(target, at)
  }

  /** Unpacks it now, to be told whether it can be, and keeps the numbers for whoever asks next. @throws RangeError */
  unpackAhead(): void {
    const slot = opened[nextOpened++ % OPENED]!
    slot.of = null
    if (slot.numbers.length !== this.length) slot.numbers = new Float32Array(this.length)
    this.#unpackTo(slot.numbers, 0)
    slot.of = this
  }

  #unpackTo(target: Float32Array, at: number): void {
    const write = this.bytes[0] === ROWS ? writeRows : this.bytes[0] === LOW_RANK ? writeLowRank : writeCorrelations
    write(this.bytes, this.#cold, target, at)
  }

  unpacked(): Float32Array {
    const state = new Float32Array(this.length)
    this.writeTo(state, 0)
    return state
  }

  /** From now on in the form that is read fastest, for a user who is here often. */
  quicken(): void {
    if (this.bytes[0] === CORRELATIONS) return
    const bytes = packCorrelations(this.unpacked(), this.#cold)
    if (!bytes) return
    this.bytes = bytes
    for (const slot of opened) if (slot.of === this) slot.of = null
  }
}

/** States that were read from a store just now: each is scored next, and unpacking is most of what it costs. */
const OPENED = 8
const opened: { of: PackedState | null; numbers: Float32Array }[] = Array.from({ length: OPENED }, () => ({
  of: null,
  numbers: new Float32Array(0),
}))
let nextOpened = 0

/** A state under an artifact, as a request needs it. */
export type UserStateVector = Float32Array | PackedState

/** @param cold a new user's state under the same artifact */
export function packState(state: Float32Array, cold: Float32Array): Uint8Array {
  if (state.length === cold.length) {
    const packed = packRows(state, cold) ?? packCorrelations(state, cold)
    if (packed) return packed
  }
  return plainState(new Uint8Array(state.buffer, state.byteOffset, state.byteLength))
}

/** Null where the bytes are no state under this artifact. @param cold a new user's state under it */
export function openState(bytes: Uint8Array, cold: Float32Array): UserStateVector | null {
  if (bytes.length === 0) return null
  if (bytes[0] === PLAIN) return new Float32Array(bytes.slice(1, bytes.length - ((bytes.length - 1) % 4)).buffer)
  try {
    const packed = new PackedState(bytes, cold)
    packed.unpackAhead()
    return packed
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

/** As `packState` has just made it. */
export const ownState = (bytes: Uint8Array, cold: Float32Array): UserStateVector | null =>
  bytes.length > 0 && bytes[0] !== PLAIN ? new PackedState(bytes, cold) : openState(bytes, cold)

/** As numbers. */
export const numbersOf = (state: UserStateVector): Float32Array =>
  state instanceof PackedState ? state.unpacked() : state

function packMean(state: Float32Array, cold: Float32Array, k: number, view: DataView, at: number): boolean {
  let peak = 0
  for (let i = 0; i < k; i++) peak = Math.max(peak, Math.abs(state[i]! - cold[i]!))
  const scale = Math.fround(peak / MAX_INT16) || 1
  if (!Number.isFinite(scale) || Number.isNaN(peak)) return false
  view.setFloat32(at, scale, true)
  for (let i = 0; i < k; i++) view.setInt16(at + 4 + 2 * i, Math.round((state[i]! - cold[i]!) / scale), true)
  return true
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function packCorrelations(state: Float32Array, cold: Float32Array): Uint8Array | null {
  const k = widthOf(state.length)
  const deviations = k > 0 ? deviationsOf(state, k) : null
  if (!deviations) return null
  const bytes = new Uint8Array(1 + meanBytes(k) + 4 * k + k * (k - 1))
  const view = viewOf(bytes)
  bytes[0] = CORRELATIONS
  if (!packMean(state, cold, k, view, 1)) return null
  let at = 1 + meanBytes(k)
  for (let i = 0; i < k; i++, at += 4) view.setFloat32(at, deviations[i]!, true)
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < i; j++, at += 2) {
      const correlation = state[k + i * k + j]! / (deviations[i]! * deviations[j]!)
      view.setInt16(at, Math.round(Math.max(-1, Math.min(1, correlation)) * MAX_INT16), true)
    }
  }
  return bytes
}

/** @throws RangeError where there are fewer bytes, or more */
function writeCorrelations(bytes: Uint8Array, cold: Float32Array, target: Float32Array, to: number): void {
  const k = widthOf(cold.length)
  if (k === 0 || bytes[0] !== CORRELATIONS || bytes.length !== 1 + meanBytes(k) + 4 * k + k * (k - 1)) {
    throw new RangeError('no state of this artifact')
  }
  const view = viewOf(bytes)
  writeMean(view, 1, cold, k, target, to)
  const first = 1 + meanBytes(k)
  let at = first + 4 * k
  for (let i = 0; i < k; i++) {
    const own = view.getFloat32(first + 4 * i, true)
    const row = to + k + i * k
    target[row + i] = own * own
    const scale = own / MAX_INT16
    for (let j = 0, column = to + k + i; j < i; j++, at += 2, column += k) {
      const value = view.getInt16(at, true) * scale * view.getFloat32(first + 4 * j, true)
      target[row + j] = value
      target[column] = value
    }
  }
}
