/** The first byte of a state that is kept as its float32 numbers. */
export const PLAIN = 0

/** The bytes of its numbers. */
export const numbersOfPlain = (state: Uint8Array): Uint8Array => state.subarray(1)

/** Such a state from its bytes (float32, little-endian). */
export function plainState(numbers: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + numbers.length)
  bytes[0] = PLAIN
  bytes.set(numbers, 1)
  return bytes
}
