import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { makeFolder } from '../../runtime/make-folder.ts'
import { fail, readNamed } from '../fail.ts'

/** `artifact`: who made an artifact (`router.artifact_public_key`). */
export function addArtifact(program: Command): void {
  const artifact = program.command('artifact').description('signatures of artifacts')

  artifact
    .command('keys <folder>')
    .description(
      'make a pair of keys in a folder, which is made where there is none: artifact-key.pem to sign with, artifact-key.pub.pem for gateways',
    )
    .action((folder: string) => {
      const { privateKey, publicKey } = generateKeyPairSync('ed25519')
      const [secret, open] = [join(folder, 'artifact-key.pem'), join(folder, 'artifact-key.pub.pem')]
      makeFolder(folder, 0o700)
      writeFileSync(secret, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' })
      writeFileSync(open, publicKey.export({ type: 'spki', format: 'pem' }), { flag: 'wx' })
      process.stdout.write(`${secret}: keep it secret. ${open}: router.artifact_public_key_file of the gateways.\n`)
    })

  artifact
    .command('sign <artifact>')
    .description('sign the directory of an artifact, once it is as it shall be')
    .requiredOption('--key <file>', 'private key: PEM, Ed25519')
    .action(async (directory: string, { key }: { key: string }) => {
      const { SIGNATURE_FILE, signArtifact } = await import('../../routing/artifact/signature.ts')
      const pem = readNamed(key)
      try {
        signArtifact(directory, pem)
      } catch (error) {
        if ('syscall' in (error as object)) throw error
        fail(`${key}: not a private key of Ed25519 in PEM.`)
      }
      process.stdout.write(`${join(directory, SIGNATURE_FILE)}\n`)
    })
}
