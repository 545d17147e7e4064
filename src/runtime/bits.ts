/** Bits of the parameter that precedes a list of numbers. */
export const PARAMETER_BITS = 5
/** A unary part longer than this belongs to no number of ours. */
const LONGEST_UNARY = 4096

/** Bytes that are left free for what precedes the next list. */
const SPARE = 8

const float = new Float32Array(1)
const word = new Uint32Array(float.buffer)

/** Of a float32 without its sign: 8 bits of the exponent and 9 of the fraction. */
const [SHORT_BITS, SHORT_BITS_LEFT] = [17, 14]

/** The largest number that `writeShortFloat` can write and that is not larger than a positive one. */
export function shortFloat(value: number): number {
  float[0] = value
  word[0] = (word[0]! >>> SHORT_BITS_LEFT) << SHORT_BITS_LEFT
  return float[0]!
}

/** Writes numbers bit by bit, the highest first. */
export class BitWriter {
  readonly #bytes: Uint8Array
  #at: number
  #bit = 0

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  /** Where the last byte written ends. */
  get end(): number {
    return this.#bit === 0 ? this.#at : this.#at + 1
  }

  write(value: number, bits: number): void {
    for (let left = bits; left > 0; ) {
      const take = Math.min(left, 8 - this.#bit)
      const part = (value >>> (left - take)) & ((1 << take) - 1)
      this.#bytes[this.#at]! |= part << (8 - this.#bit - take)
      this.#bit += take
      left -= take
      if (this.#bit === 8) {
        this.#bit = 0
        this.#at++
      }
    }
  }

  /** A positive number that `shortFloat` has rounded. */
  writeShortFloat(value: number): void {
    float[0] = value
    this.write(word[0]! >>> SHORT_BITS_LEFT, SHORT_BITS)
  }

  /**
   * The first `count` integers, by Rice's code (Rice, Plaunt 1971, IEEE Trans. Commun. 19) with the parameter that
   * takes least.
   *
   * @returns false where there is no room
   */
  writeAll(values: ArrayLike<number>, count: number): boolean {
    let [parameter, least] = [0, Number.POSITIVE_INFINITY]
    let sum = 0
    for (let i = 0; i < count; i++) sum += zigzag(values[i]!)
    const guess = Math.max(0, Math.floor(Math.log2(sum / count + 1)) - 1)
    for (let p = guess; p <= guess + 2 && p < 2 ** PARAMETER_BITS; p++) {
      let bits = count * (p + 1)
      for (let i = 0; i < count; i++) bits += zigzag(values[i]!) >>> p
      if (bits < least) [parameter, least] = [p, bits]
    }
    if (this.#at + (least + PARAMETER_BITS) / 8 + SPARE > this.#bytes.length) return false
    this.write(parameter, PARAMETER_BITS)
    for (let i = 0; i < count; i++) {
      const value = zigzag(values[i]!)
      for (let ones = value >>> parameter; ones > 0; ones -= 16) {
        const some = Math.min(ones, 16)
        this.write((1 << some) - 1, some)
      }
      this.write(0, 1)
      this.write(value & ((1 << parameter) - 1), parameter)
    }
    return true
  }
}

/** Reads what `BitWriter` wrote. @throws RangeError at the end of the bytes */
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

  /** One integer of `writeAll`'s. */
  readOne(parameter: number): number {
    let ones = 0
    while (this.read(1) === 1) if (++ones > LONGEST_UNARY) throw new RangeError('no number')
    const value = (ones << parameter) | this.read(parameter)
    return value & 1 ? -((value + 1) >>> 1) : value >>> 1
  }
}

const zigzag = (value: number) => (value < 0 ? -2 * value - 1 : 2 * value)
