import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

const NONCE_BYTES = 12
const TAG_BYTES = 16

/**
 * Bytes that others keep for us and can neither read nor change: AES-256-GCM (NIST SP 800-38D) under a key that is
 * derived from a secret (HKDF, RFC 5869), with a random nonce each, so that no more than 2^32 may be sealed under one
 * secret.
 */
export class Seal {
  readonly #purpose: string
  #key: Buffer

  /** @param purpose what is sealed for one is not opened for another */
  constructor(secret: string, purpose: string) {
    this.#purpose = purpose
    this.#key = keyOf(secret, purpose)
  }

  /** From now on another secret: what was sealed before is not opened any more. */
  use(secret: string): void {
    this.#key = keyOf(secret, this.#purpose)
  }

  /** @param context must be the same when it is opened */
  seal(bytes: Uint8Array, context: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(context))
    return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
  }

  /** Null where it was not sealed under this secret and context. */
  open(sealed: Buffer, context: string): Buffer | null {
    if (sealed.length < NONCE_BYTES + TAG_BYTES) return null
    const end = sealed.length - TAG_BYTES
    const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(Buffer.from(context)).setAuthTag(sealed.subarray(end))
    try {
      return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, end)), decipher.final()])
    } catch {
      return null
    }
  }
}

const keyOf = (secret: string, purpose: string) => Buffer.from(hkdfSync('sha256', secret, '', purpose, 32))
