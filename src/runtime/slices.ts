import { setImmediate } from 'node:timers/promises'

/** Copying or hashing so much takes about a millisecond. */
export const SLICE_BYTES = 1024 * 1024

/** A lot of bytes, piece by piece; others have their turn in between. Pieces are taken off the list as they come. */
export async function* inSlices(pieces: Uint8Array[]): AsyncGenerator<Uint8Array> {
  let left = SLICE_BYTES
  for (let piece = pieces.shift(); piece; piece = pieces.shift()) {
    for (let from = 0; from < piece.length; from += SLICE_BYTES) {
      if (left <= 0) {
        left = SLICE_BYTES
        await setImmediate()
      }
      const slice = piece.subarray(from, from + SLICE_BYTES)
      left -= slice.length
      yield slice
    }
  }
}
