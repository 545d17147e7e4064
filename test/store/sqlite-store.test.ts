import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SqliteStore } from '../../src/store/sqlite-store.ts'
import { storeContract } from '../contracts/store.ts'

storeContract('SQLite', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-sqlite-'))
  return {
    open: async () => new SqliteStore({ kind: 'sqlite', path: join(dir, 'new', 'store.db'), retention_days: 36_500 }),
    discard: async () => rmSync(dir, { recursive: true }),
  }
})
