import { describe, expect, test } from 'vitest'
import { RangeReader, RangeWriter } from '../../src/runtime/range-coder.ts'
import fc from '../support/properties.ts'

const HEAD = Uint8Array.of(7, 8, 9)
const USUAL = Uint8Array.of(0, 2, 5, 8)

function written(numbers: readonly number[]): Uint8Array {
  const writer = new RangeWriter(HEAD.slice(), HEAD.length, USUAL)
  for (const [i, number] of numbers.entries()) writer.write(number, i % USUAL.length)
  return writer.end()
}

function read(bytes: Uint8Array, count: number): number[] {
  const reader = new RangeReader(bytes, HEAD.length, USUAL)
  const numbers = Array.from({ length: count }, (_, i) => reader.read(i % USUAL.length))
  reader.end()
  return numbers
}

const small = fc.integer({ min: -3, max: 3 })
const large = fc.integer({ min: -(2 ** 30 - 1), max: 2 ** 30 - 1 })

describe('numbers in as many bits as they are surprising', () => {
  test('are read as they were written, after what is before them', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof({ weight: 3, arbitrary: small }, large), { maxLength: 300 }), (numbers) => {
        const bytes = written(numbers)
        expect(bytes.slice(0, HEAD.length)).toEqual(HEAD)
        expect(read(bytes, numbers.length)).toEqual(numbers)
        expect(() => read(Uint8Array.from([...bytes, 0]), numbers.length)).toThrow(RangeError)
      }),
    )
  })

  test('take next to nothing where they are always the same, and no more than they need where they are not', () => {
    expect(written(Array(4_000).fill(0)).length).toBeLessThan(40)
    // A sign is told each time.
    expect(written(Array(4_000).fill(-3)).length).toBeLessThan(550)
    const random = Array.from({ length: 4_000 }, (_, i) => ((i * 2_654_435_761) >>> 8) % 256)
    expect(written(random).length).toBeLessThan(1.2 * 4_000)
  })

  test('of more than 30 bits, and what is no number, are refused; any bytes are read, or refused', () => {
    for (const number of [2 ** 30, -(2 ** 30), Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => written([number])).toThrow(RangeError)
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          expect(read(bytes, 50).every(Number.isInteger)).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }),
    )
  })
})
