import { createHash } from 'node:crypto'

/** How names become codes: the manifest's `codes`. */
export type Codes = 'hashed' | 'frame'

const STEPS = 40

/**
 * Code of a text: the first n bits of its SHA-256, lowest bit of each byte first, as ±1/√n. Codes of different texts
 * are nearly orthogonal, so that a liking for one vendor or LLM needs no table of them.
 */
export function code(text: string, n: number): Float32Array {
  const digest = createHash('sha256').update(text.toLowerCase()).digest()
  const step = 1 / Math.sqrt(n)
  return Float32Array.from({ length: n }, (_, i) => (((digest[i >> 3] as number) >> (i & 7)) & 1 ? step : -step))
}

/**
 * Codes [n] of all names that are told apart, by name in lower case. `frame`: the hashed ones turned as little as makes
 * them orthonormal (the polar factor, by the iteration of Newton and Schulz: Higham 1986); of more names than
 * dimensions, the nearest tight frame. Their order does not matter. router-model's `data/codes.py` computes the same.
 */
export function codesOf(texts: Iterable<string>, n: number, kind: Codes): Map<string, Float32Array> {
  const names = [...new Set([...texts].map((text) => text.toLowerCase()))].sort()
  const hashed = names.map((name) => code(name, n))
  const rows = kind === 'hashed' || n === 0 ? hashed : frame(hashed.map((row) => Float64Array.from(row)))
  return new Map(names.map((name, i) => [name, rows[i] as Float32Array]))
}

function frame(hashed: readonly Float64Array[]): Float32Array[] {
  const largest = Math.max(...gram(hashed).map((row) => row.reduce((sum, value) => sum + Math.abs(value), 0)))
  // No singular value above 1; a small one grows by half in each step.
  let rows = hashed.map((row) => row.map((value) => value / Math.sqrt(largest)))
  for (let step = 0; step < STEPS; step++) {
    const overlaps = gram(rows)
    const now = rows
    rows = now.map((row, i) =>
      row.map((value, k) => {
        let sum = 0
        for (const [j, other] of now.entries()) sum += (overlaps[i]![j] as number) * (other[k] as number)
        return 1.5 * value - 0.5 * sum
      }),
    )
  }
  return rows.map((row) => {
    const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0))
    return Float32Array.from(row, (value) => value / length)
  })
}

const gram = (rows: readonly Float64Array[]) =>
  rows.map((a) => Float64Array.from(rows, (b) => a.reduce((sum, value, k) => sum + value * (b[k] as number), 0)))
