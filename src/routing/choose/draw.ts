import { hash } from 'node:crypto'

const BYTES = 6

/**
 * The random number that `choose` explores with: 0 <= draw < 1.
 *
 * With a seed it depends on nothing but the seed and `asked`: not on the order of requests, on the process, or on the
 * scores, so that propensities stay true.
 *
 * @param asked by whom, what, and how often they had rated before
 */
export function draw(seed: number | undefined, ...asked: readonly (string | number)[]): number {
  if (seed === undefined) return Math.random()
  return hash('sha256', JSON.stringify([seed, ...asked]), 'buffer').readUIntBE(0, BYTES) / 2 ** (8 * BYTES)
}
