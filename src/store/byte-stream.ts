const LARGEST_INTEGER = 2 ** 53

/** Writes bytes, integers of as many bytes as they need (LEB128), and float32, little-endian. */
export class ByteWriter {
  #bytes: Buffer
  #at = 0

  constructor(room: number) {
    this.#bytes = Buffer.allocUnsafe(room)
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  byte(value: number): void {
    this.#make(1)
    this.#bytes[this.#at++] = value
  }

  unsigned(value: number): void {
    let rest = value
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.byte((rest % 128) + 128)
    this.byte(rest)
  }

  signed(value: number): void {
    this.unsigned(value < 0 ? -2 * value - 1 : 2 * value)
  }

  float(value: number): void {
    this.#make(4)
    this.#at = this.#bytes.writeFloatLE(value, this.#at)
  }

  raw(bytes: Uint8Array): void {
    this.#make(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  #make(room: number): void {
    if (this.#at + room <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(2 * this.#bytes.length + room)
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}

/** Reads what `ByteWriter` wrote. @throws RangeError at the end of the bytes */
export class ByteReader {
  readonly #bytes: Buffer
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  byte(): number {
    if (this.#at >= this.#bytes.length) throw new RangeError('The bytes end too early.')
    return this.#bytes[this.#at++] as number
  }

  unsigned(): number {
    let [value, factor] = [0, 1]
    for (;;) {
      const byte = this.byte()
      value += (byte & 127) * factor
      if (byte < 128) return value
      factor *= 128
      if (factor > LARGEST_INTEGER) throw new RangeError('A number without end.')
    }
  }

  signed(): number {
    const value = this.unsigned()
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2
  }

  float(): number {
    return this.#view.getFloat32(this.skip(4), true)
  }

  /** Passes so many bytes. @returns where they begin */
  skip(length: number): number {
    const from = this.#at
    if (from + length > this.#bytes.length) throw new RangeError('The bytes end too early.')
    this.#at = from + length
    return from
  }

  /** One of those that were passed. */
  passed(at: number): number {
    return this.#bytes[at] as number
  }

  rest(): Buffer {
    return this.raw(this.#bytes.length - this.#at)
  }

  raw(length: number): Buffer {
    const from = this.skip(length)
    return this.#bytes.subarray(from, this.#at)
  }
}
