/** float32, little-endian, as they lie in memory on every platform that Node runs on. */
export function floatBytes(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength)
}

/** Copies: bytes from a database need not be aligned. */
export function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(new Uint8Array(bytes).buffer)
}

export const base64Of = ({ buffer, byteOffset, byteLength }: Int8Array) =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64')

export function int8FromBase64(base64: string): Int8Array {
  return new Int8Array(Buffer.from(base64, 'base64'))
}
