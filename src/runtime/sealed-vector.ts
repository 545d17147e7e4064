import { packVector, type QuantisedVector, unpackVector } from './quantise.ts'
import { openUnder, sealUnder } from './seal.ts'

const CONTEXT = Buffer.from('vector')

/** In base64. @param key 32 bytes */
export const sealVector = (key: Uint8Array, vector: QuantisedVector): string =>
  sealUnder(key, packVector(vector), CONTEXT).toString('base64')

/** Null where it was sealed under another key. */
export function openVector(key: Uint8Array, sealed: string): QuantisedVector | null {
  const bytes = openUnder(key, Buffer.from(sealed, 'base64'), CONTEXT)
  return bytes && unpackVector(bytes)
}
