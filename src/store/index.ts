import type { StoreConfig } from '../config/schema.ts'
import type { BackupStore } from './backup/contract.ts'
import type { StoreEvents } from './store.ts'

/**
 * Opens the configured store. A Redis that is away does not matter: the store then rejects with `StoreError` until it
 * is back.
 *
 * @param processes of this machine that share it
 * @throws StoreError when the SQLite file can't be opened
 */
export async function openStore(config: StoreConfig, processes = 1, events: StoreEvents = {}): Promise<BackupStore> {
  // Each is a tenth of all code: only one of them is loaded.
  if (config.kind === 'sqlite') return new (await import('./sqlite/store.ts')).SqliteStore(config, processes)
  const { RedisStore } = await import('./redis/store.ts')
  const store = new RedisStore(config, events)
  await store.connect()
  return store
}
