import { createHash, createPrivateKey, sign, verify } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { publicKeyOf } from '../../runtime/public-key.ts'
import { ArtifactError } from './error.ts'

/**
 * Beside the manifest: an Ed25519 signature (RFC 8032) of the manifest's SHA-256, in base64. The manifest holds the
 * hash of every other file, so that one signature covers them all.
 */
export const SIGNATURE_FILE = 'manifest.sig'

const hashOf = (manifest: Uint8Array) => createHash('sha256').update(manifest).digest()

/**
 * Checks who made an artifact, before any of it is read as more than bytes.
 *
 * @param publicKey PEM
 * @throws ArtifactError
 */
export async function checkSignature(directory: string, manifest: Uint8Array, publicKey: string): Promise<void> {
  const text = await readFile(join(directory, SIGNATURE_FILE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ArtifactError('signed', `${SIGNATURE_FILE} can’t be read (${error.code ?? error.message})`, error)
  })
  const isGood = verify(null, hashOf(manifest), publicKeyOf(publicKey), Buffer.from(text.trim(), 'base64'))
  if (!isGood) throw new ArtifactError('signed', 'the signature is not of this manifest by the configured key')
}

/** Signs an artifact. @param privateKey PEM. @throws Error of the file system, or for another kind of key */
export function signArtifact(directory: string, privateKey: string): void {
  const key = createPrivateKey(privateKey)
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('expected a private key of Ed25519')
  const manifest = readFileSync(join(directory, 'manifest.json'))
  writeFileSync(join(directory, SIGNATURE_FILE), `${sign(null, hashOf(manifest), key).toString('base64')}\n`)
}
