/** Of an entry of a covariance, in units of both its standard deviations: that exactly it is kept. */
const TOLERANCE = 1e-4

/** K where a state of so many numbers may be K means and a K x K covariance, else 0. */
export function widthOf(numbers: number): number {
  const k = Math.round((Math.sqrt(4 * numbers + 1) - 1) / 2)
  return k >= 8 && k < 256 && k * (k + 1) === numbers ? k : 0
}

/** Used again and again, by one call at a time: memory that was never touched before is dear. */
let square = new Float64Array(0)
export function squareOf(k: number): Float64Array {
  if (square.length !== k * k) square = new Float64Array(k * k)
  return square
}

/** Standard deviations, or null where it is no covariance. */
export function deviationsOf(state: Float32Array, k: number): Float64Array | null {
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

export const MAX_INT16 = 32_767

/** Of means as 16 bits each, by their difference to a new user's. */
export const meanBytes = (k: number) => 4 + 2 * k

export function writeMean(
  view: DataView,
  from: number,
  cold: Float32Array,
  k: number,
  target: Float32Array,
  at: number,
): void {
  const scale = view.getFloat32(from, true)
  for (let i = 0; i < k; i++) target[at + i] = cold[i]! + view.getInt16(from + 4 + 2 * i, true) * scale
}
