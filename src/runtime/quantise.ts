/** A vector as it is kept: int8 values times `scale`. */
export interface QuantisedVector {
  int8: Int8Array
  scale: number
}

const MAX_INT8 = 127

/** Three users ask for a request's vector: its summary, its record and its conversation. */
const known = new WeakMap<Float32Array, QuantisedVector>()

/**
 * Symmetric quantisation with one scale for the whole vector; the largest number becomes 127. Cached by vector: don't
 * change the vector afterwards.
 */
export function quantise(vector: Float32Array | null): QuantisedVector | null {
  if (vector === null) return null
  let quantised = known.get(vector)
  if (quantised === undefined) {
    quantised = quantiseNow(vector)
    known.set(vector, quantised)
  }
  return quantised
}

function quantiseNow(vector: Float32Array): QuantisedVector {
  let peak = 0
  for (let i = 0; i < vector.length; i++) {
    const size = Math.abs(vector[i] as number)
    if (size > peak) peak = size
  }
  const scale = peak / MAX_INT8 || 1
  const int8 = new Int8Array(vector.length)
  for (let i = 0; i < vector.length; i++) int8[i] = Math.round((vector[i] as number) / scale)
  return { int8, scale }
}

/** The scale (float32, little-endian), then the numbers. */
export function packVector({ int8, scale }: QuantisedVector): Buffer {
  const bytes = Buffer.allocUnsafe(SCALE_BYTES + int8.length)
  bytes.writeFloatLE(scale)
  bytes.set(new Uint8Array(int8.buffer, int8.byteOffset, int8.byteLength), SCALE_BYTES)
  return bytes
}

export const unpackVector = (bytes: Buffer): QuantisedVector => ({
  int8: new Int8Array(bytes.subarray(SCALE_BYTES)),
  scale: bytes.readFloatLE(),
})

const SCALE_BYTES = 4

export function dequantise({ int8, scale }: QuantisedVector): Float32Array {
  const vector = new Float32Array(int8.length)
  for (let i = 0; i < int8.length; i++) vector[i] = (int8[i] as number) * scale
  return vector
}
