import { RangeReader, RangeWriter } from '../../runtime/range-coder.ts'
import { deviationsOf, squareOf, widthOf } from './gaussian.ts'

/**
 * A Gaussian belief by its difference to a new user's, every entry of the covariance within 1e-4 of both its
 * deviations, in about as many bytes as there is news in it.
 *
 * A mixture over kinds of people loses some of all variance when one kind grows less likely: first a share of the new
 * user's covariance is taken away. What ratings took away of the rest has a low rank. So rows are told one by one, the
 * one with most variance first, and what they say of other rows is taken out of those (a symmetric elimination with
 * pivoting: Harbrecht, Peters, Schneider 2012, Appl. Numer. Math. 62), until telling what is left entry by entry takes
 * less. Rows are rounded before they are taken out: what that leaves of other rows is told by these.
 *
 * All in units of the new user's deviations, and of how much each has shrunk since, in steps of a fourth root of two.
 */
export const ROWS = 3

/** Of an entry, in those units: by half of it it may be off. */
const STEP = 1.3e-4
/** Of a variance: where less is left of all there is no further row. */
const LAST_ROW = 1e-3
/** Of the mean, in units of what changed most. */
const MEAN_STEP = 2e-5
/** Of a deviation: so many to a half. */
const SHRUNK_STEPS = 4
/** Of weights that keep about the same share of their variance. */
const ALIKE = 0.6
const ROOM = 2_048

/** Contexts of numbers: by the bits of what is beside it, for rows and for the rest; and of three other lists. */
const [OF_ROWS, OF_REST] = [20, 16]
const [MEAN, SHRUNK, PLACE] = [OF_ROWS + OF_REST, OF_ROWS + OF_REST + 1, OF_ROWS + OF_REST + 2]
/** How many bits a number will mostly have. */
const USUAL = Uint8Array.from({ length: PLACE + 1 }, (_, context) => {
  if (context < OF_ROWS) return Math.max(0, context - 1)
  if (context < MEAN) return Math.max(0, Math.ceil((context - OF_ROWS) / 2) - 2)
  return context === MEAN ? 9 : context === SHRUNK ? 0 : 5
})

/** Of the form, the share and the scale of the mean. */
const HEAD = 9

/** Null where it is no Gaussian, or one that numbers of 30 bits can't tell. @param cold a new user's state */
export function packRows(state: Float32Array, cold: Float32Array): Uint8Array | null {
  try {
    return packed(state, cold)
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

function packed(state: Float32Array, cold: Float32Array): Uint8Array | null {
  const k = widthOf(state.length)
  const own = k > 0 ? deviationsOf(state, k) : null
  const before = own && deviationsOf(cold, k)
  if (!own || !before) return null
  let peak = 0
  for (let i = 0; i < k; i++) peak = Math.max(peak, Math.abs(state[i]! - cold[i]!))
  const scale = Math.fround(peak * MEAN_STEP) || 1
  if (!Number.isFinite(scale) || Number.isNaN(peak)) return null
  const share = shareOf(own, before)
  const head = new Uint8Array(ROOM)
  const view = new DataView(head.buffer)
  view.setUint8(0, ROWS)
  view.setFloat32(1, share, true)
  view.setFloat32(5, scale, true)
  const bits = new RangeWriter(head, HEAD, USUAL)
  for (let i = 0; i < k; i++) bits.write(Math.round((state[i]! - cold[i]!) / scale), MEAN)
  const unit = new Float64Array(k)
  for (let i = 0, last = 0; i < k; i++) {
    const steps = Math.max(0, Math.ceil(SHRUNK_STEPS * Math.log2(before[i]! / own[i]!)))
    bits.write(steps - last, SHRUNK)
    unit[i] = before[i]! / 2 ** (steps / SHRUNK_STEPS)
    last = steps
  }
  const left = squareOf(k)
  for (let i = 0; i < k; i++) {
    for (let j = 0, at = k + i * k; j <= i; j++) {
      left[i * k + j] = (share * cold[at + j]! - state[at + j]!) / (unit[i]! * unit[j]!)
    }
  }
  const coded = (number: number, context: number) => {
    bits.write(number, context)
    return number
  }
  const rows = new Rows(left, k, -1)
  for (;;) {
    const place = rows.furthest()
    bits.write(place + 1, PLACE)
    if (place < 0) break
    rows.tell(place, (of, context) => coded(Math.round(of / STEP), context))
  }
  rows.tellRest((of, context) => coded(Math.round(of / STEP), context))
  return bits.end()
}

/** @throws RangeError where the bytes are not those of a state under this artifact */
export function writeRows(bytes: Uint8Array, cold: Float32Array, target: Float32Array, to: number): void {
  const k = widthOf(cold.length)
  if (k === 0 || bytes[0] !== ROWS || bytes.length < HEAD) throw new RangeError('no state of this artifact')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [share, scale] = [view.getFloat32(1, true), view.getFloat32(5, true)]
  const bits = new RangeReader(bytes, HEAD, USUAL)
  for (let i = 0; i < k; i++) target[to + i] = cold[i]! + bits.read(MEAN) * scale
  const unit = new Float64Array(k)
  for (let i = 0, steps = 0; i < k; i++) {
    steps += bits.read(SHRUNK)
    unit[i] = Math.sqrt(cold[k + i * k + i]!) / 2 ** (steps / SHRUNK_STEPS)
  }
  const taken = squareOf(k).fill(0)
  const rows = new Rows(taken, k, 1)
  const read = (_: number, context: number) => bits.read(context)
  for (;;) {
    const place = bits.read(PLACE) - 1
    if (place < 0) break
    rows.tell(place, read)
  }
  rows.tellRest(read)
  bits.end()
  for (let i = 0; i < k; i++) {
    const row = to + k + i * k
    for (let j = 0, column = to + k + i; j <= i; j++, column += k) {
      const value = share * cold[k + i * k + j]! - taken[i * k + j]! * unit[i]! * unit[j]!
      target[row + j] = value
      target[column] = value
    }
  }
}

/** A number that is told, of what there is; under a context. */
type Tell = (of: number, context: number) => number

/** The walk through a matrix's lower triangle, [K, K], which whoever packs it empties and whoever unpacks it fills. */
class Rows {
  readonly #square: Float64Array
  readonly #k: number
  readonly #sign: 1 | -1
  /** Rows that were not told yet, in order. */
  readonly #left: number[]
  /** What the row before said of each. */
  readonly #before: Int32Array
  readonly #told: Float64Array

  constructor(square: Float64Array, k: number, sign: 1 | -1) {
    this.#square = square
    this.#k = k
    this.#sign = sign
    this.#left = Array.from({ length: k }, (_, i) => i)
    this.#before = new Int32Array(k)
    this.#told = new Float64Array(k)
  }

  /** The place of the row with most variance; -1 where there is little. */
  furthest(): number {
    let place = -1
    let most = LAST_ROW
    for (let n = 0; n < this.#left.length; n++) {
      const variance = Math.abs(this.#square[this.#left[n]! * (this.#k + 1)]!)
      if (!(variance > most)) continue
      place = n
      most = variance
    }
    return place
  }

  /** @throws RangeError where there is no such row */
  tell(place: number, tell: Tell): void {
    const [square, k, left, told, before] = [this.#square, this.#k, this.#left, this.#told, this.#before]
    const [pivot] = left.splice(place, 1)
    if (pivot === undefined) throw new RangeError('no state of this artifact')
    const variance = STEP * tell(square[pivot * k + pivot]!, OF_ROWS - 1)
    if (variance === 0) throw new RangeError('no state of this artifact')
    square[pivot * k + pivot]! += this.#sign * variance
    let last = 0
    let lastButOne = 0
    for (const n of left) {
      const at = n > pivot ? n * k + pivot : pivot * k + n
      const code = tell(square[at]!, Math.min(OF_ROWS - 2, bitsOf(last + lastButOne + before[n]!)))
      told[n] = code * STEP
      square[at]! += this.#sign * told[n]!
      lastButOne = last
      last = before[n] = Math.abs(code)
    }
    told[pivot] = 0
    for (const n of left) {
      const of = (this.#sign * told[n]!) / variance
      if (of === 0) continue
      for (let m = 0, at = n * k; m <= n; m++, at++) square[at]! += of * told[m]!
    }
  }

  tellRest(tell: Tell): void {
    const above = new Int32Array(this.#k)
    for (const n of this.#left) {
      let last = 0
      let lastButOne = 0
      for (const m of this.#left) {
        if (m > n) break
        const at = n * this.#k + m
        const beside = bitsOf(2 * (last + above[m]!) + lastButOne)
        const code = tell(this.#square[at]!, OF_ROWS + Math.min(OF_REST - 1, beside))
        this.#square[at]! += this.#sign * code * STEP
        lastButOne = last
        last = above[m] = Math.abs(code)
      }
    }
  }
}

const bitsOf = (size: number) => 32 - Math.clz32(size)

/** Of a new user's variance: the most that those weights keep that keep nearly the same. */
function shareOf(own: Float64Array, before: Float64Array): number {
  const kept = Array.from(own, (deviation, i) => (deviation / before[i]!) ** 2).sort((a, b) => a - b)
  const apart = Math.floor(ALIKE * kept.length)
  let [share, narrowest] = [1, Number.POSITIVE_INFINITY]
  for (let i = apart; i < kept.length; i++) {
    const ratio = kept[i]! / kept[i - apart]!
    if (ratio <= narrowest) [share, narrowest] = [kept[i]!, ratio]
  }
  return Math.fround(share)
}
