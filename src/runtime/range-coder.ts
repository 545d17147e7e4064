/**
 * Integers in as many bits as they are surprising: binary arithmetic coding (Rissanen, Langdon 1979, IBM J. Res. Dev.
 * 23) by probabilities that adapt to what was coded before under the same context.
 *
 * A number is: how many bits its size has, outward from what is usual in its context; whether the bit after the first
 * is set; further ones and the sign, which are as likely 1 as 0.
 */
const LENGTHS = 31
/** Probabilities of a context: has it as many bits as usual, more, fewer; the bit after the first. */
const [ENOUGH, MORE, FEWER, SECOND] = [0, 1, 1 + LENGTHS, 1 + 2 * LENGTHS]
const SLOTS = SECOND + LENGTHS
const LARGEST = 2 ** (LENGTHS - 1)

/** Probabilities that a bit is 1, in 65536ths, of which the coder sees two bits less. */
const [ONE, HALF, SEEN] = [65_536, 32_768, 2]
const [LEAST, MOST, RARE] = [64, ONE - 64, 0.4 * ONE]
/** By how many were coded with it, what share of its error a probability loses: in 4096ths. */
const [RATE_BITS, RATES] = [12, Int32Array.from({ length: 30 }, (_, seen) => 4_096 / (seen + 1.6))]

/** What is left to choose from: numbers of 30 bits, which are no objects to the engine; the first 8 leave as a byte. */
const [WIDTH, TOP, SPLIT] = [30, 22, 14]
const MASK = 2 ** WIDTH - 1
/** So many bits of which nothing is known are coded at once, where there is room. */
const AT_ONCE = 10

/** How many bits numbers usually have, by context. */
type Usual = Uint8Array

/** What was learned of numbers so far: coder and decoder have the same at each place. */
class Chances {
  readonly usual: Usual
  readonly ones: Int32Array
  /** How often each was learned from, as far as it counts. */
  readonly seen: Uint8Array

  constructor(usual: Usual) {
    this.usual = usual
    this.ones = new Int32Array(usual.length * SLOTS).fill(RARE)
    this.seen = new Uint8Array(usual.length * SLOTS)
    for (let context = 0; context < usual.length; context++) {
      this.ones[context * SLOTS + ENOUGH] = HALF
      this.ones.fill(HALF, context * SLOTS + SECOND, (context + 1) * SLOTS)
    }
  }
}

/** A probability after a bit more. */
function learned(p: number, bit: number, seen: Uint8Array, at: number): number {
  const times = seen[at]!
  if (times < RATES.length - 1) seen[at] = times + 1
  const next = p + (((bit === 1 ? ONE - p : -p) * RATES[times]!) >> RATE_BITS)
  return next < LEAST ? LEAST : Math.min(next, MOST)
}

export class RangeWriter {
  readonly #usual: Usual
  readonly #ones: Int32Array
  readonly #seen: Uint8Array
  #bytes: Uint8Array
  #at: number
  #low = 0
  #high = MASK

  /** @param bytes written from `at` on; more room is made where it is not enough */
  constructor(bytes: Uint8Array, at: number, usual: Usual) {
    const { ones, seen } = new Chances(usual)
    this.#usual = usual
    this.#ones = ones
    this.#seen = seen
    this.#bytes = bytes
    this.#at = at
  }

  /** @throws RangeError where it has more than 30 bits, or is no number */
  write(value: number, context: number): void {
    const size = Math.abs(value)
    if (!(size < LARGEST)) throw new RangeError('too large a number')
    const bits = 32 - Math.clz32(size)
    const at = context * SLOTS
    const usual = this.#usual[context]!
    if (usual > 0) this.#adaptive(at + ENOUGH, bits >= usual ? 1 : 0)
    if (bits >= usual) {
      for (let i = usual; i < LENGTHS - 1; i++) {
        this.#adaptive(at + MORE + i, bits > i ? 1 : 0)
        if (bits === i) break
      }
    } else {
      for (let i = usual - 1; i > 0; i--) {
        this.#adaptive(at + FEWER + i, bits < i ? 1 : 0)
        if (bits === i) break
      }
    }
    if (bits === 0) return
    if (bits > 1) this.#adaptive(at + SECOND + bits, (size >>> (bits - 2)) & 1)
    // The sign, then what is left of the size.
    let left = Math.max(0, bits - 2)
    const some = Math.min(left, AT_ONCE - 1)
    left -= some
    this.#raw(((value < 0 ? 1 : 0) << some) | ((size >>> left) & ((1 << some) - 1)), some + 1)
    for (; left > 0; left -= AT_ONCE) {
      const more = Math.min(left, AT_ONCE)
      this.#raw((size >>> (left - more)) & ((1 << more) - 1), more)
    }
  }

  /** In one piece: most of the time is spent here. */
  #adaptive(at: number, bit: number): void {
    const ones = this.#ones
    const p = ones[at]!
    const middle = this.#low + ((this.#high - this.#low) >>> SPLIT) * (p >>> SEEN)
    if (bit === 1) this.#high = middle
    else this.#low = middle + 1
    ones[at] = learned(p, bit, this.#seen, at)
    if ((this.#low ^ this.#high) >>> TOP === 0) this.#shift()
  }

  #raw(value: number, bits: number): void {
    if ((this.#high - this.#low) >>> SPLIT === 0) {
      for (let i = bits - 1; i >= 0; i--) this.#bit(HALF, (value >>> i) & 1)
      return
    }
    const each = (this.#high - this.#low + 1) >>> bits
    this.#low += value * each
    this.#high = this.#low + each - 1
    if ((this.#low ^ this.#high) >>> TOP === 0) this.#shift()
  }

  #bit(ones: number, bit: number): void {
    const middle = this.#low + ((this.#high - this.#low) >>> SPLIT) * (ones >>> SEEN)
    if (bit === 1) this.#high = middle
    else this.#low = middle + 1
    this.#shift()
  }

  #shift(): void {
    while ((this.#low ^ this.#high) >>> TOP === 0) {
      this.#put(this.#high >>> TOP)
      this.#low = (this.#low << 8) & MASK
      this.#high = ((this.#high << 8) & MASK) | 255
    }
  }

  #put(byte: number): void {
    if (this.#at === this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#bytes.length + 64)
      larger.set(this.#bytes)
      this.#bytes = larger
    }
    this.#bytes[this.#at++] = byte
  }

  /** All that was written, `bytes` before it included. The zeros that would follow are not kept. */
  end(): Uint8Array {
    this.#put((this.#low >>> TOP) + 1)
    return this.#bytes.slice(0, this.#at)
  }
}

/** Reads what `RangeWriter` wrote, with the same contexts. @throws RangeError where it can't be that */
export class RangeReader {
  readonly #chances: Chances
  readonly #bytes: Uint8Array
  #at: number
  #low = 0
  #high = MASK
  #value = 0

  constructor(bytes: Uint8Array, at: number, usual: Usual) {
    this.#chances = new Chances(usual)
    this.#bytes = bytes
    this.#at = at + 3
    for (let i = 0; i < 3; i++) this.#value = (this.#value << 8) | this.#byte(at + i)
    this.#value = (this.#value << 6) | (this.#byte(at + 3) >>> 2)
  }

  read(context: number): number {
    const at = context * SLOTS
    const usual = this.#chances.usual[context]!
    let bits = usual
    if (usual === 0 || this.#adaptive(at + ENOUGH) === 1) {
      while (bits < LENGTHS - 1 && this.#adaptive(at + MORE + bits) === 1) bits++
    } else {
      bits--
      while (bits > 0 && this.#adaptive(at + FEWER + bits) === 1) bits--
    }
    if (bits === 0) return 0
    let size = 1
    if (bits > 1) size = 2 | this.#adaptive(at + SECOND + bits)
    let left = bits < 2 ? 0 : bits - 2
    const some = left < AT_ONCE ? left : AT_ONCE - 1
    left -= some
    const signed = this.#raw(some + 1)
    size = (size << some) | (signed & ((1 << some) - 1))
    for (; left > 0; left -= AT_ONCE) {
      const more = Math.min(left, AT_ONCE)
      size = (size << more) | this.#raw(more)
    }
    return signed >>> some === 1 ? -size : size
  }

  /** In one piece: most of the time is spent here. */
  #adaptive(at: number): number {
    const { ones, seen } = this.#chances
    const p = ones[at]!
    const middle = this.#low + ((this.#high - this.#low) >>> SPLIT) * (p >>> SEEN)
    const bit = this.#value <= middle ? 1 : 0
    if (bit === 1) this.#high = middle
    else this.#low = middle + 1
    ones[at] = learned(p, bit, seen, at)
    if ((this.#low ^ this.#high) >>> TOP === 0) this.#shift()
    return bit
  }

  #raw(bits: number): number {
    if ((this.#high - this.#low) >>> SPLIT === 0) {
      let value = 0
      for (let i = 0; i < bits; i++) value = (value << 1) | this.#bit(HALF)
      return value
    }
    const each = (this.#high - this.#low + 1) >>> bits
    const value = ((this.#value - this.#low) / each) | 0
    if (value >>> bits !== 0) throw new RangeError('no number')
    this.#low += value * each
    this.#high = this.#low + each - 1
    if ((this.#low ^ this.#high) >>> TOP === 0) this.#shift()
    return value
  }

  #bit(ones: number): number {
    const middle = this.#low + ((this.#high - this.#low) >>> SPLIT) * (ones >>> SEEN)
    const bit = this.#value <= middle ? 1 : 0
    if (bit === 1) this.#high = middle
    else this.#low = middle + 1
    this.#shift()
    return bit
  }

  /** Eight bits more, of two bytes: 30 were read ahead. */
  #shift(): void {
    while ((this.#low ^ this.#high) >>> TOP === 0) {
      this.#low = (this.#low << 8) & MASK
      this.#high = ((this.#high << 8) & MASK) | 255
      const more = ((this.#byte(this.#at) << 6) | (this.#byte(this.#at + 1) >>> 2)) & 255
      this.#value = ((this.#value << 8) & MASK) | more
      this.#at++
    }
  }

  /** Zeros at the end are not written. */
  #byte(at: number): number {
    return at < this.#bytes.length ? this.#bytes[at]! : 0
  }

  /** @throws RangeError where there are bytes left, or too few, as far as that shows */
  end(): void {
    // Of what was read ahead one byte was written.
    if (this.#at - 2 !== this.#bytes.length) throw new RangeError('other bytes than were written')
  }
}
