/** A vector as it is kept: int8 values times `scale`. */
export interface QuantisedVector {
  int8: Int8Array
  scale: number
}

const MAX_INT8 = 127

/** Symmetric quantisation with one scale for the whole vector; the largest number becomes 127. */
export function quantise(vector: Float32Array | null): QuantisedVector | null {
  if (vector === null) return null
  let peak = 0
  for (const value of vector) peak = Math.max(peak, Math.abs(value))
  const scale = peak / MAX_INT8 || 1
  const int8 = new Int8Array(vector.length)
  for (let i = 0; i < vector.length; i++) int8[i] = Math.round((vector[i] as number) / scale)
  return { int8, scale }
}
