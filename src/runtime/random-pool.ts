import { randomFillSync } from 'node:crypto'

const POOL_BYTES = 4_096

/**
 * Draws random bytes for many at once: a draw costs more than what it gives to one.
 *
 * @param bytes of each
 * @returns the next ones: a view that is good until the pool is drawn anew, so use it at once
 */
export function randomPool(bytes: number): () => Buffer {
  const pool = Buffer.alloc(POOL_BYTES)
  let at = POOL_BYTES
  return () => {
    if (at + bytes > POOL_BYTES) {
      randomFillSync(pool)
      at = 0
    }
    at += bytes
    return pool.subarray(at - bytes, at)
  }
}
