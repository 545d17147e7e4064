import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { FirstKey } from '../../src/candidates/first-key.ts'
import { configSchema } from '../../src/config/schema.ts'
import { SqliteStore } from '../../src/store/sqlite/store.ts'

const dir = mkdtempSync(join(tmpdir(), 'first-key-'))
afterAll(() => rmSync(dir, { recursive: true }))

test('an empty store gets a first key, though one of a store that is gone still lies there', async () => {
  const config = configSchema.parse({ store: { kind: 'sqlite' } })
  const file = join(dir, 'first-key')
  const shown: (string | null)[] = []
  for (const path of ['gone.db', 'new.db', 'new.db']) {
    const store = new SqliteStore({ kind: 'sqlite', path: join(dir, path), retention_days: 90 })
    shown.push(await new FirstKey(file).show(store, config))
    await store.close()
  }
  const [gone, made, again] = shown
  expect(made).toMatch(/^pr-/)
  expect(made).not.toBe(gone)
  expect(again).toBe(made)
  // A key that was revoked or replaced is no reason for another one.
  const store = new SqliteStore({ kind: 'sqlite', path: join(dir, 'new.db'), retention_days: 90 })
  for (const { id } of await store.listKeys()) await store.revokeKey(id, Date.now())
  expect(await new FirstKey(file).show(store, config)).toBeNull()
  expect(existsSync(file)).toBe(false)
  await store.close()
})
