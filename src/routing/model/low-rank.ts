import { BitReader, PARAMETER_BITS } from '../../runtime/bits.ts'
import { meanBytes, squareOf, widthOf, writeMean } from './gaussian.ts'

/**
 * The form in which versions before this one kept a state of few ratings: what they took away of the covariance of a
 * new user, as vectors by a symmetric elimination with pivoting.
 */
export const LOW_RANK = 2

const PIVOT_BITS = 8

/** @throws RangeError where the bytes end too early, or name a row that there isn't */
export function writeLowRank(bytes: Uint8Array, cold: Float32Array, target: Float32Array, to: number): void {
  const k = widthOf(cold.length)
  if (k === 0 || bytes[0] !== LOW_RANK || bytes[1]! > k) throw new RangeError('no state of this artifact')
  writeMean(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 2, cold, k, target, to)
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
