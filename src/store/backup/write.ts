import { fingerprintOf } from '../../candidates/identity-secret.ts'
import type { BackupStore } from './contract.ts'
import { type Manifest, openManifest, writeManifest } from './manifest.ts'
import { PartFile } from './parts.ts'
import { type BackupRow, tenantOf } from './rows.ts'

/** Before compression. What an interruption loses, at most. */
const PART_BYTES = 32 * 1024 * 1024

export interface WriteOptions {
  partBytes?: number
  /** Called after each page. */
  onProgress?: (progress: { rows: number; type: string }) => void
}

/**
 * Writes all that a store keeps into a directory, or goes on where it was interrupted. Gateways may run meanwhile: what
 * was acknowledged before the start is in it; what comes later may be.
 *
 * @throws BackupError where the directory is not for it. StoreError
 */
export async function writeBackup(
  store: BackupStore,
  dir: string,
  { partBytes = PART_BYTES, onProgress }: WriteOptions = {},
): Promise<Manifest> {
  const secret = await store.sharedSecret(null)
  const fingerprint = await store.backup.fingerprint()
  // One that a gateway made before another was configured is no longer the one that ids are kept under.
  const has_secret = secret !== null && (fingerprint === null || fingerprintOf(secret) === fingerprint)
  const source = { store: store.kind, fingerprint, has_secret }
  const manifest = openManifest(dir, source)
  writeManifest(dir, manifest)
  const tenants = new Set(manifest.tenants)
  let part: PartFile | null = null
  let rows = 0
  try {
    if (secret !== null && manifest.next === '') {
      part = new PartFile(dir, manifest.parts.length)
      await part.write([{ type: 'secret', secret }])
    }
    for await (const page of store.backup.read(manifest.next)) {
      part ??= new PartFile(dir, manifest.parts.length)
      await part.write(page.rows)
      rows += page.rows.length
      manifest.has_hashed_ids ||= page.rows.some(isHashed)
      for (const row of page.rows) tenants.add(tenantOf(row) ?? '')
      const last = page.rows.at(-1)
      if (last) onProgress?.({ rows, type: last.type })
      if (page.next === null) continue
      manifest.next = page.next
      if (part.bytes < partBytes) continue
      manifest.parts.push(await part.close())
      part = null
      writeManifest(dir, { ...manifest, tenants: named(tenants) })
    }
    if (part) manifest.parts.push(await part.close())
    part = null
  } finally {
    await part?.discard()
  }
  const whole = { ...manifest, tenants: named(tenants), finished_at: Date.now() }
  writeManifest(dir, whole)
  return whole
}

const named = (tenants: ReadonlySet<string>) => [...tenants].filter((name) => name !== '').sort()

/** Its user is kept under the secret of ids (`UserIds.stored`). */
function isHashed(row: BackupRow): boolean {
  const user = row.type === 'interaction' || row.type === 'reward' ? row.record.user : 'user' in row ? row.user : null
  return user !== null && user !== 'anonymous' && !user.startsWith('p:')
}
