import { describe, expect, test } from 'vitest'
import { numbersOf, openState, PackedState, packState } from '../../../src/routing/model/packed-state.ts'
import fc from '../../support/properties.ts'

const K = 12
const S = K * (K + 1)

/** Numbers that look random, and are the same each time. */
const noise = (seed: number) => (i: number) =>
  Math.sin(seed * 12.9898 + i * 78.233) * 43_758.5453 -
  Math.floor(Math.sin(seed * 12.9898 + i * 78.233) * 43_758.5453) -
  0.5

/** A belief: means, and the covariance that so many observations leave of the identity. */
function belief(observations: number, seed: number, strength: number): Float32Array {
  const of = noise(seed)
  const covariance = Array.from({ length: K }, (_, i) => Array.from({ length: K }, (_, j) => (i === j ? 1 + i : 0.2)))
  for (let n = 0; n < observations; n++) {
    const direction = Array.from({ length: K }, (_, i) => of(n * K + i))
    const pull = covariance.map((row) => row.reduce((sum, value, j) => sum + value * direction[j]!, 0))
    const noiseVariance = 1 / strength + pull.reduce((sum, value, i) => sum + value * direction[i]!, 0)
    for (let i = 0; i < K; i++) for (let j = 0; j < K; j++) covariance[i]![j]! -= (pull[i]! * pull[j]!) / noiseVariance
  }
  return Float32Array.from([...Array.from({ length: K }, (_, i) => of(i + 1e4)), ...covariance.flat()])
}
const COLD = belief(0, 1, 1)

function expectSame(found: Float32Array, state: Float32Array): void {
  const deviation = (i: number) => Math.sqrt(state[K + i * K + i]!)
  const furthest = Math.max(...Array.from({ length: K }, (_, i) => Math.abs(state[i]! - COLD[i]!)))
  for (let i = 0; i < K; i++) {
    expect(Math.abs(found[i]! - state[i]!)).toBeLessThanOrEqual(1e-4 * furthest + 1e-6)
    for (let j = 0; j < K; j++) {
      const apart = Math.abs(found[K + i * K + j]! - state[K + i * K + j]!)
      expect(apart).toBeLessThanOrEqual(1.1e-4 * deviation(i) * deviation(j))
    }
  }
}

describe('a packed state', () => {
  test('is the belief, each entry within its share of its deviations, in either form', () => {
    const some = fc.tuple(fc.nat(30), fc.nat(1_000), fc.constantFrom(0.001, 1, 100))
    fc.assert(
      fc.property(some, ([observations, seed, strength]) => {
        const state = belief(observations, seed, strength)
        const bytes = packState(state, COLD)
        const cold = openState(bytes, COLD) as PackedState
        expect(cold).toBeInstanceOf(PackedState)
        expect(cold.length).toBe(S)
        expectSame(numbersOf(cold), state)
        cold.quicken()
        expectSame(numbersOf(cold), state)
        expect(cold.bytes.length).toBeLessThan(2 * S)
        expect(packState(state, COLD)).toEqual(bytes)
      }),
    )
  })

  test('is the same whether it has just been read or long ago, whatever was read since', () => {
    const states = Array.from({ length: 20 }, (_, n) => belief(n, n, 1))
    const read = states.map((state) => openState(packState(state, COLD), COLD) as PackedState)
    const long = read.map((state) => state.unpacked())
    for (const [n, state] of states.entries()) {
      expectSame(long[n]!, state)
      const again = openState(packState(state, COLD), COLD) as PackedState
      expect(again.unpacked()).toEqual(new PackedState(again.bytes, COLD).unpacked())
      expect(again.unpacked()).toEqual(long[n])
    }
  })

  test('of a few observations takes little, of none next to nothing', () => {
    const bytes = [0, 1, 3, 30].map((n) => packState(belief(n, 2, 1), COLD).length)
    expect(bytes[0]).toBeLessThan(3 * K + 10)
    expect(bytes[0]).toBeLessThan(bytes[1]!)
    expect(bytes[1]).toBeLessThan(bytes[2]!)
    expect(Math.max(...bytes)).toBeLessThan(2 * S)
  })

  test('of an earlier version is read', () => {
    const bytes =
      'AgWCces34v/OFCUfhOVCBNNUmAL/fy0r6G9HJp8UCziyFhMUjiAMGDA/93v011VtA9Qo6391wIOMpYkEC5DGnm46Si3A2YNbYLGm9UcEHfaAAbAW77ACGwAneZAYIA=='
    const state = openState(Buffer.from(bytes, 'base64'), COLD) as PackedState
    expectSame(state.unpacked(), belief(2, 5, 1))
    state.quicken()
    expectSame(state.unpacked(), belief(2, 5, 1))
  })

  test('of something else is kept number by number', () => {
    const others = [
      Float32Array.of(1, -2, 3.5),
      Float32Array.of(),
      new Float32Array(S).fill(Number.NaN),
      new Float32Array(S).fill(-1),
      belief(3, 1, 1).map((value, i) => (i === K + 1 ? value + 1 : value)),
      belief(3, 1, 1).map((value, i) => (i === K ? -1 : value)),
    ]
    for (const state of others) {
      const bytes = packState(state, COLD)
      expect(openState(bytes, COLD)).toEqual(state)
    }
  })

  test('that is broken is none, and never the end of the process', () => {
    const good = packState(belief(5, 3, 10), COLD)
    const [form, cut, byte, value] = [fc.nat(255), fc.nat(good.length), fc.nat(good.length - 1), fc.nat(255)]
    fc.assert(
      fc.property(form, cut, byte, value, (first, length, at, other) => {
        const bytes = good.slice(0, length)
        if (bytes.length > 0) bytes[0] = first
        if (at < bytes.length && at > 0) bytes[at] = other
        const state = openState(bytes, COLD)
        expect(state === null || state.length >= 0).toBe(true)
      }),
      { numRuns: 500 },
    )
    expect(openState(new Uint8Array(0), COLD)).toBeNull()
    expect(openState(good, new Float32Array(8))).toBeNull()
  })
})
