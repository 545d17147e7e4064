/** Bits of the parameter that precedes a list of numbers. */
export const PARAMETER_BITS = 5
/** A unary part longer than this belongs to no number of ours. */
const LONGEST_UNARY = 4096

const float = new Float32Array(1)
const word = new Uint32Array(float.buffer)

/** Of a float32 without its sign: 8 bits of the exponent and 9 of the fraction. */
const [SHORT_BITS, SHORT_BITS_LEFT] = [17, 14]

/** Reads numbers bit by bit, the highest first. @throws RangeError at the end of the bytes */
export class BitReader {
  readonly #bytes: Uint8Array
  #at: number
  #bit = 0

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  read(bits: number): number {
    let value = 0
    for (let left = bits; left > 0; ) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) throw new RangeError('no more bits')
      const take = Math.min(left, 8 - this.#bit)
      value = ((value << take) | ((byte >>> (8 - this.#bit - take)) & ((1 << take) - 1))) >>> 0
      this.#bit += take
      left -= take
      if (this.#bit === 8) {
        this.#bit = 0
        this.#at++
      }
    }
    return value
  }

  readShortFloat(): number {
    word[0] = this.read(SHORT_BITS) << SHORT_BITS_LEFT
    return float[0]!
  }

  /** One integer of Rice's code (Rice, Plaunt 1971, IEEE Trans. Commun. 19). */
  readOne(parameter: number): number {
    let ones = 0
    while (this.read(1) === 1) if (++ones > LONGEST_UNARY) throw new RangeError('no number')
    const value = (ones << parameter) | this.read(parameter)
    return value & 1 ? -((value + 1) >>> 1) : value >>> 1
  }
}
