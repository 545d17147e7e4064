import type { StoreConfig } from '../config/schema.ts'
import type { BackupStore } from './backup/contract.ts'
import { RedisStore } from './redis/store.ts'
import { SqliteStore } from './sqlite/store.ts'

/**
 * Opens the configured store. A Redis that is away does not matter: the store then rejects with `StoreError` until it
 * is back.
 *
 * @param processes of this machine that share it
 * @throws StoreError when the SQLite file can't be opened
 */
export async function openStore(config: StoreConfig, processes = 1): Promise<BackupStore> {
  if (config.kind === 'sqlite') return new SqliteStore(config, processes)
  const store = new RedisStore(config)
  await store.connect()
  return store
}
