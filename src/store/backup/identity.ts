import { fingerprintOf } from '../../candidates/identity-secret.ts'
import type { BackupStore } from './contract.ts'
import { BackupError, type Manifest } from './manifest.ts'

/**
 * Refuses a backup whose user ids nobody could be found under: a gateway on this store would keep its own under another
 * secret.
 *
 * @param secrets of the configuration: the one in use, and former ones
 * @throws BackupError. StoreError
 */
export async function checkIdentity(
  store: BackupStore,
  { fingerprint, has_secret, has_hashed_ids }: Manifest,
  { secret, previous_secrets }: { secret?: string | undefined; previous_secrets: readonly string[] },
): Promise<void> {
  if (!has_hashed_ids || fingerprint === null) return
  const shared = await store.sharedSecret(null)
  const known = [secret, ...previous_secrets, shared].filter((one) => typeof one === 'string').map(fingerprintOf)
  // The one that comes along is taken where neither the store nor the configuration has one yet.
  if (known.includes(fingerprint) || (has_secret && shared === null && secret === undefined)) return
  throw new BackupError(
    secret === undefined && shared === null
      ? 'User ids in the backup are kept under a secret that is not in it: put that into identity.secret (or identity.secret_file) first.'
      : 'User ids in the backup are kept under another secret than here: put that into identity.secret, or into identity.previous_secrets, first. A gateway that made its own has it in the file identity-secret beside its spool.',
  )
}

/** Gateways that would keep ids under another secret are refused from now on, as by the old store. */
export async function noteIdentity(store: BackupStore, { fingerprint, has_hashed_ids }: Manifest): Promise<void> {
  if (fingerprint !== null && has_hashed_ids) await store.secretFingerprint(fingerprint, [])
}
