import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { randomPool } from './random-pool.ts'

const NONCE_BYTES = 12
const TAG_BYTES = 16

const nextNonce = randomPool(NONCE_BYTES)

/**
 * Bytes that others keep for us and can neither read nor change: AES-256-GCM (NIST SP 800-38D) under a key that is
 * derived from a secret (HKDF, RFC 5869), with a random nonce each, so that no more than 2^32 may be sealed under one
 * secret and salt.
 */
export class Seal {
  readonly #purpose: string
  readonly #salt: Uint8Array
  #keys: readonly [KeyObject, ...KeyObject[]]

  /**
   * @param secrets the first one seals; all of them open, so that a secret can be replaced
   * @param purpose what is sealed for one is not opened for another
   * @param salt without it nothing is opened any more
   */
  constructor(secrets: Secrets, purpose: string, salt: Uint8Array = NO_SALT) {
    this.#purpose = purpose
    this.#salt = salt
    this.#keys = this.#keysOf(secrets)
  }

  /** From now on other secrets: what was sealed under none of them is not opened any more. */
  use(secrets: Secrets): void {
    this.#keys = this.#keysOf(secrets)
  }

  /** @param context must be the same when it is opened */
  seal(bytes: Uint8Array, context: string): Buffer {
    return sealUnder(this.#keys[0], bytes, context)
  }

  /** Null where it was not sealed under one of these secrets, and this context. */
  open(sealed: Buffer, context: string): Buffer | null {
    for (const key of this.#keys) {
      const bytes = openUnder(key, sealed, context)
      if (bytes) return bytes
    }
    return null
  }

  #keysOf([first, ...others]: Secrets): [KeyObject, ...KeyObject[]] {
    const keyOf = (secret: string) =>
      createSecretKey(new Uint8Array(hkdfSync('sha256', secret, this.#salt, this.#purpose, 32)))
    return [keyOf(first), ...others.map(keyOf)]
  }
}

/** At least one; the first one is the one in use. */
export type Secrets = readonly [string, ...string[]]

const NO_SALT = new Uint8Array(0)

/** Bytes of a key, or what was made of them: given bytes, Node tries two other kinds first, by exceptions (8 us). */
const keyObject = (key: Uint8Array | KeyObject) => (key instanceof Uint8Array ? createSecretKey(key) : key)

/** @param key 32 bytes @param context must be the same when it is opened */
export function sealUnder(key: Uint8Array | KeyObject, bytes: Uint8Array, context: string | Uint8Array): Buffer {
  const nonce = nextNonce()
  const cipher = createCipheriv('aes-256-gcm', keyObject(key), nonce)
  cipher.setAAD(typeof context === 'string' ? Buffer.from(context) : context)
  const sealed = Buffer.allocUnsafe(NONCE_BYTES + bytes.length + TAG_BYTES)
  sealed.set(nonce)
  // In this mode as many bytes as went in, and none at the end.
  sealed.set(cipher.update(bytes), NONCE_BYTES)
  cipher.final()
  sealed.set(cipher.getAuthTag(), NONCE_BYTES + bytes.length)
  return sealed
}

/** Null where it was not sealed under this key and context. */
export function openUnder(key: Uint8Array | KeyObject, sealed: Buffer, context: string | Uint8Array): Buffer | null {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return null
  const end = sealed.length - TAG_BYTES
  const nonce = sealed.subarray(0, NONCE_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', keyObject(key), nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(typeof context === 'string' ? Buffer.from(context) : context).setAuthTag(sealed.subarray(end))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, end)), decipher.final()])
  } catch {
    return null
  }
}
