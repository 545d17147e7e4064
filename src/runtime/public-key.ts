import { createPublicKey, type KeyObject } from 'node:crypto'

/** @param pem of Ed25519 (RFC 8410). @throws Error for anything else, a private key included */
export function publicKeyOf(pem: string): KeyObject {
  if (pem.includes('PRIVATE')) throw new Error('expected a public key')
  const key = createPublicKey(pem)
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('expected a key of Ed25519')
  return key
}
