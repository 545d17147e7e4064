import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fingerprintOf } from '../../../src/candidates/identity-secret.ts'
import type { BackupStore } from '../../../src/store/backup/contract.ts'
import { checkIdentity, noteIdentity } from '../../../src/store/backup/identity.ts'
import { restoreBackup } from '../../../src/store/backup/restore.ts'
import { writeBackup } from '../../../src/store/backup/write.ts'
import { openStore } from '../../../src/store/index.ts'
import { aUser } from '../records.ts'

const [OLD, NEW] = ['the-old-secret', 'a-new-secret']
let dir: string
let from: BackupStore
let to: BackupStore
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'persona-router-identity-'))
  const open = (name: string) => openStore({ kind: 'sqlite', path: join(dir, name), retention_days: 90 })
  ;[from, to] = [await open('from.db'), await open('to.db')]
})
afterEach(async () => {
  await Promise.all([from.close(), to.close()])
  rmSync(dir, { recursive: true })
})

/** What a gateway notes that keeps ids under a secret; @param made it has made it itself */
async function backupUnder(secret: string, made: boolean, user = 'hashed-id') {
  if (made) await from.sharedSecret(secret)
  await from.secretFingerprint(fingerprintOf(secret), [])
  await from.commitUser('acme', user, aUser())
  return writeBackup(from, join(dir, 'backup'))
}
const configured = (secret?: string, ...previous_secrets: string[]) => ({ secret, previous_secrets })

test('a secret that the gateway made comes along', async () => {
  const manifest = await backupUnder(OLD, true)
  await checkIdentity(to, manifest, configured())
  await restoreBackup(to, join(dir, 'backup'), manifest, { retentionMs: 1e12 })
  await noteIdentity(to, manifest)
  expect(await to.sharedSecret(null)).toBe(OLD)
  // A gateway with another one does not start on it.
  expect(await to.secretFingerprint(fingerprintOf(NEW), [])).toBe(fingerprintOf(OLD))
  await checkIdentity(to, manifest, configured())
})

test('a configured one must be here, too', async () => {
  const manifest = await backupUnder(OLD, false)
  await expect(checkIdentity(to, manifest, configured())).rejects.toThrow(/a secret that is not in it: put that into/)
  await expect(checkIdentity(to, manifest, configured(NEW))).rejects.toThrow(/another secret than here/)
  await checkIdentity(to, manifest, configured(OLD))
  // Rotated: users are found as they come.
  await checkIdentity(to, manifest, configured(NEW, OLD))
})

test('a store whose gateway has made another secret is refused, unless the old one is configured', async () => {
  const manifest = await backupUnder(OLD, true)
  await to.sharedSecret(NEW)
  await expect(checkIdentity(to, manifest, configured())).rejects.toThrow(/another secret than here/)
  await checkIdentity(to, manifest, configured(OLD))
  await checkIdentity(to, manifest, configured(NEW, OLD))
})

test('one that was made before another was configured is not the one that matters', async () => {
  await from.sharedSecret(OLD)
  const manifest = await backupUnder(NEW, false)
  expect(manifest.has_secret).toBe(false)
  await expect(checkIdentity(to, manifest, configured())).rejects.toThrow(/a secret that is not in it: put that into/)
  await checkIdentity(to, manifest, configured(NEW))
})

test('where another secret is configured the one that comes along does not do', async () => {
  const manifest = await backupUnder(OLD, true)
  await expect(checkIdentity(to, manifest, configured(NEW))).rejects.toThrow(/another secret than here/)
})

test('where ids are plain, no secret matters', async () => {
  const manifest = await backupUnder(OLD, false, 'p:ann')
  expect(manifest.has_hashed_ids).toBe(false)
  await checkIdentity(to, manifest, configured(NEW))
  await noteIdentity(to, manifest)
  expect(await to.secretFingerprint(fingerprintOf(NEW), [])).toBe(fingerprintOf(NEW))
})
