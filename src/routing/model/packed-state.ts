import { BitReader, BitWriter, PARAMETER_BITS, shortFloat } from '../../runtime/bits.ts'
import { PLAIN, plainState } from '../../store/plain-state.ts'

/**
 * A user's state as it is kept, in the store and in memory: of a Gaussian belief (K means, then a symmetric K x K
 * covariance, as router-model/ARTIFACT.md has it) all entries are kept within `TOLERANCE` of their scale; of anything
 * else, and of what is not finite, the float32 numbers themselves.
 *
 * - `LOW_RANK`: what few ratings took away of the covariance of a new user has a low rank. Vectors of it by a
 *   symmetric elimination with pivoting (Harbrecht, Peters, Schneider 2012, Appl. Numer. Math. 62), rounded as they are
 *   made, so that later ones mend what earlier ones left;
 * - `CORRELATIONS`: standard deviations (float32), and correlations as 16 bits each;
 * - `PLAIN`: float32.
 *
 * Means are 16 bits each, by their difference to a new user's. All little-endian.
 */
const [CORRELATIONS, LOW_RANK] = [1, 2]

/** Of an entry of the covariance, in units of both its standard deviations; that of the mean is finer. */
const TOLERANCE = 1e-4
/** Of a variance at which there is no further vector, and of what rounding leaves in the row of one. */
const [STOP, STEP] = [2e-5, 8e-5]
const MAX_INT16 = 32_767
const MOST_STEPS = 2 ** 22
const PIVOT_BITS = 8

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
    if (this.bytes[0] === LOW_RANK) writeLowRank(this.bytes, this.#cold, target, at)
    else writeCorrelations(this.bytes, this.#cold, target, at)
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
    const few = packLowRank(state, cold)
    if (few) return few
    const many = packCorrelations(state, cold)
    if (many) return many
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

/** K where a state of so many numbers may be K means and a K x K covariance, else 0. */
function widthOf(numbers: number): number {
  const k = Math.round((Math.sqrt(4 * numbers + 1) - 1) / 2)
  return k >= 8 && k < 256 && k * (k + 1) === numbers ? k : 0
}

/** Used again and again, by one call at a time: memory that was never touched before is dear. */
let square = new Float64Array(0)
function squareOf(k: number): Float64Array {
  if (square.length !== k * k) square = new Float64Array(k * k)
  return square
}

/** Standard deviations, or null where it is no covariance. */
function deviationsOf(state: Float32Array, k: number): Float64Array | null {
  const deviations = new Float64Array(k)
  for (let i = 0; i < k; i++) {
    const variance = state[k + i * k + i]!
    if (!(variance > 0 && variance < Number.POSITIVE_INFINITY)) return null
    deviations[i] = Math.sqrt(variance)
  }
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < i; j++) {
      const [here, there] = [state[k + i * k + j]!, state[k + j * k + i]!]
      const scale = deviations[i]! * deviations[j]!
      if (!(Math.abs(here - there) <= TOLERANCE * scale && Math.abs(here) <= scale * (1 + TOLERANCE))) return null
    }
  }
  return deviations
}

const meanBytes = (k: number) => 4 + 2 * k

function packMean(state: Float32Array, cold: Float32Array, k: number, view: DataView, at: number): boolean {
  let peak = 0
  for (let i = 0; i < k; i++) peak = Math.max(peak, Math.abs(state[i]! - cold[i]!))
  const scale = Math.fround(peak / MAX_INT16) || 1
  if (!Number.isFinite(scale) || Number.isNaN(peak)) return false
  view.setFloat32(at, scale, true)
  for (let i = 0; i < k; i++) view.setInt16(at + 4 + 2 * i, Math.round((state[i]! - cold[i]!) / scale), true)
  return true
}

function writeMean(view: DataView, from: number, cold: Float32Array, k: number, target: Float32Array, at: number) {
  const scale = view.getFloat32(from, true)
  for (let i = 0; i < k; i++) target[at + i] = cold[i]! + view.getInt16(from + 4 + 2 * i, true) * scale
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

/** Null where it isn't smaller than the correlations, or not as exact. */
function packLowRank(state: Float32Array, cold: Float32Array): Uint8Array | null {
  const k = widthOf(state.length)
  const own = k > 0 ? deviationsOf(state, k) : null
  const before = own && deviationsOf(cold, k)
  if (!own || !before) return null
  const head = 2 + meanBytes(k)
  const bytes = new Uint8Array(1 + meanBytes(k) + 4 * k + k * (k - 1))
  bytes[0] = LOW_RANK
  if (!packMean(state, cold, k, viewOf(bytes), 2)) return null
  // What ratings took away, in units of a new user's deviations; and how exact it must be, in those.
  const left = squareOf(k)
  const fine = new Float64Array(k)
  for (let i = 0; i < k; i++) fine[i] = own[i]! / before[i]!
  for (let i = 0; i < k; i++) {
    for (let j = 0; j <= i; j++) {
      const taken = cold[k + i * k + j]! - state[k + i * k + j]!
      left[i * k + j] = left[j * k + i] = taken / (before[i]! * before[j]!)
    }
  }
  const bits = new BitWriter(bytes, head)
  const vector = new Float64Array(k)
  const codes = new Int32Array(k)
  let width = k
  for (; width > 0; width--) {
    const [pivot, error] = worstOf(left, fine, k, width)
    if (error <= STOP) break
    const variance = left[pivot * k + pivot]!
    const sign = variance < 0 ? -1 : 1
    const size = Math.sqrt(Math.abs(variance))
    // What rounding leaves of other rows is seen by later vectors, of the pivot's own by none.
    const steps = Math.ceil((size * size) / (STEP * fine[pivot]! * finestOf(fine, width)))
    const scale = shortFloat(size / steps)
    if (!(steps < MOST_STEPS)) return null
    for (let n = 0; n < width; n++) {
      codes[n] = Math.round(left[n * k + pivot]! / (sign * size * scale))
      vector[n] = codes[n]! * scale
    }
    bits.write(pivot, PIVOT_BITS)
    bits.write(sign < 0 ? 1 : 0, 1)
    bits.writeShortFloat(scale)
    if (!bits.writeAll(codes, width)) return null
    subtract(left, vector, sign, k, width)
    if (!isWithin(left, fine, k, pivot, width)) return null
    moveLast(left, fine, k, pivot, width)
  }
  for (let n = 0; n < width; n++) if (!isWithin(left, fine, k, n, width)) return null
  bytes[1] = k - width
  return bytes.slice(0, bits.end)
}

function finestOf(fine: Float64Array, width: number): number {
  let finest = Number.POSITIVE_INFINITY
  for (let n = 0; n < width; n++) finest = Math.min(finest, fine[n]!)
  return finest
}

/** Puts the last row and column in the place of the pivot's. */
function moveLast(left: Float64Array, fine: Float64Array, k: number, pivot: number, width: number): void {
  const last = width - 1
  for (let n = 0; n < width; n++) left[pivot * k + n] = left[last * k + n]!
  for (let n = 0; n < width; n++) left[n * k + pivot] = left[n * k + last]!
  left[pivot * k + pivot] = left[last * k + last]!
  fine[pivot] = fine[last]!
}

/** The place whose variance is furthest off, and by how much, in units of its tolerance. */
function worstOf(left: Float64Array, fine: Float64Array, k: number, width: number): [place: number, error: number] {
  let [place, error] = [0, 0]
  for (let n = 0; n < width; n++) {
    const own = Math.abs(left[n * k + n]!) / (fine[n]! * fine[n]!)
    if (!(own <= error)) [place, error] = [n, own]
  }
  return [place, error]
}

function isWithin(left: Float64Array, fine: Float64Array, k: number, row: number, width: number): boolean {
  for (let n = 0; n < width; n++) {
    if (!(Math.abs(left[row * k + n]!) <= TOLERANCE * fine[row]! * fine[n]!)) return false
  }
  return true
}

/** Takes `sign` v v^T out of the first `width` rows and columns, in place. */
function subtract(from: Float64Array, vector: Float64Array, sign: number, k: number, width: number): void {
  for (let n = 0; n < width; n++) {
    const of = sign * vector[n]!
    const row = n * k
    for (let m = 0; m < width; m++) from[row + m]! -= of * vector[m]!
  }
}

/** @throws RangeError where the bytes end too early, or name a row that there isn't */
function writeLowRank(bytes: Uint8Array, cold: Float32Array, target: Float32Array, to: number): void {
  const k = widthOf(cold.length)
  if (k === 0 || bytes[0] !== LOW_RANK || bytes[1]! > k) throw new RangeError('no state of this artifact')
  writeMean(viewOf(bytes), 2, cold, k, target, to)
  const bits = new BitReader(bytes, 2 + meanBytes(k))
  const taken = squareOf(k).fill(0)
  const order = new Uint8Array(k).map((_, i) => i)
  const vector = new Float64Array(k)
  for (let width = k; width > k - bytes[1]!; width--) {
    const pivot = bits.read(PIVOT_BITS)
    if (pivot >= width) throw new RangeError('no state of this artifact')
    const sign = bits.read(1) === 1 ? -1 : 1
    const scale = bits.readShortFloat()
    const parameter = bits.read(PARAMETER_BITS)
    vector.fill(0)
    for (let n = 0; n < width; n++) vector[order[n]!] = bits.readOne(parameter) * scale
    for (let i = 0; i < k; i++) {
      const of = sign * vector[i]!
      if (of === 0) continue
      for (let j = 0, row = i * k; j <= i; j++) taken[row + j]! += of * vector[j]!
    }
    order[pivot] = order[width - 1]!
  }
  const deviations = new Float64Array(k).map((_, i) => Math.sqrt(cold[k + i * k + i]!))
  for (let i = 0; i < k; i++) {
    const row = to + k + i * k
    for (let j = 0, column = to + k + i; j <= i; j++, column += k) {
      const value = cold[k + i * k + j]! - taken[i * k + j]! * deviations[i]! * deviations[j]!
      target[row + j] = value
      target[column] = value
    }
  }
}
