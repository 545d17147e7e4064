/** Quantised token vectors: value = int8 x scale of its column. */
export interface VectorTable {
  /** [columns] */
  scale: Float32Array
  /** [rows, columns] */
  rows: Int8Array
}

const LANES = 0x00ff00ff
const BIAS = 128
const SIGNS = 0x80808080
/** Rows that a 16-bit lane can add up: 257 x 255 = 65,535. */
const BLOCK = 256

/**
 * Sums int8 rows by id, exactly. Four columns share a 32-bit word, as bytes from 0 to 255; even and odd bytes are added
 * up in 16-bit lanes, two to a word: a quarter of the time of one column at a time (`docs/embedding.md`).
 */
export class VectorSum {
  readonly #columns: number
  readonly #words: Int32Array
  readonly #wordsPerRow: number
  readonly #even: Int32Array
  readonly #odd: Int32Array
  readonly #sums: Int32Array

  /** @param rows not to be used afterwards */
  constructor(rows: Int8Array, columns: number) {
    this.#columns = columns
    this.#wordsPerRow = Math.ceil(columns / 4)
    this.#words = packed(rows, columns, this.#wordsPerRow)
    this.#even = new Int32Array(this.#wordsPerRow)
    this.#odd = new Int32Array(this.#wordsPerRow)
    this.#sums = new Int32Array(this.#wordsPerRow * 4)
  }

  /** Sum of the rows [columns]: a view that the next call overwrites. */
  sum(ids: Int32Array): Int32Array {
    this.#sums.fill(0)
    for (let from = 0; from < ids.length; from += BLOCK) {
      const to = Math.min(from + BLOCK, ids.length)
      this.#addBlock(ids, from, to)
      this.#flush(to - from)
    }
    return this.#sums.subarray(0, this.#columns)
  }

  #addBlock(ids: Int32Array, from: number, to: number): void {
    const words = this.#words
    const even = this.#even
    const odd = this.#odd
    const n = this.#wordsPerRow
    even.fill(0)
    odd.fill(0)
    let t = from
    for (; t + 3 < to; t += 4) {
      const a = ids[t]! * n
      const b = ids[t + 1]! * n
      const c = ids[t + 2]! * n
      const d = ids[t + 3]! * n
      for (let i = 0; i < n; i++) {
        const wa = words[a + i]!
        const wb = words[b + i]!
        const wc = words[c + i]!
        const wd = words[d + i]!
        even[i] = even[i]! + (wa & LANES) + (wb & LANES) + (wc & LANES) + (wd & LANES)
        odd[i] = odd[i]! + ((wa >>> 8) & LANES) + ((wb >>> 8) & LANES) + ((wc >>> 8) & LANES) + ((wd >>> 8) & LANES)
      }
    }
    for (; t < to; t++) {
      const a = ids[t]! * n
      for (let i = 0; i < n; i++) {
        const word = words[a + i]!
        even[i] = even[i]! + (word & LANES)
        odd[i] = odd[i]! + ((word >>> 8) & LANES)
      }
    }
  }

  /** Takes the lanes apart, and the bias off. */
  #flush(rows: number): void {
    const sums = this.#sums
    const bias = rows * BIAS
    for (let i = 0; i < this.#wordsPerRow; i++) {
      const even = this.#even[i]!
      const odd = this.#odd[i]!
      sums[4 * i] = sums[4 * i]! + (even & 0xffff) - bias
      sums[4 * i + 1] = sums[4 * i + 1]! + (odd & 0xffff) - bias
      sums[4 * i + 2] = sums[4 * i + 2]! + (even >>> 16) - bias
      sums[4 * i + 3] = sums[4 * i + 3]! + (odd >>> 16) - bias
    }
  }
}

/** Bytes of four columns in a word. Where no row ends within a word, in the place of the rows themselves. */
function packed(rows: Int8Array, columns: number, wordsPerRow: number): Int32Array {
  const isWhole = columns % 4 === 0 && rows.byteOffset % 4 === 0
  const words = isWhole
    ? new Int32Array(rows.buffer, rows.byteOffset, rows.length / 4)
    : spread(rows, columns, wordsPerRow)
  // The sign's bit is worth the bias.
  for (let i = 0; i < words.length; i++) words[i] = words[i]! ^ SIGNS
  return words
}

function spread(rows: Int8Array, columns: number, wordsPerRow: number): Int32Array {
  const count = rows.length / columns
  const bytes = new Int8Array(4 * count * wordsPerRow)
  for (let row = 0; row < count; row++) {
    bytes.set(rows.subarray(row * columns, (row + 1) * columns), 4 * row * wordsPerRow)
  }
  return new Int32Array(bytes.buffer)
}
