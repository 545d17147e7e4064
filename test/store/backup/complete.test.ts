import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROW_TYPES } from '../../../src/store/backup/rows.ts'
import { openStore } from '../../../src/store/index.ts'
import * as redisBackup from '../../../src/store/redis/backup.ts'
import * as keys from '../../../src/store/redis/keys.ts'
import * as sqliteBackup from '../../../src/store/sqlite/backup.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { fill } from './filled.ts'

/** What a store keeps is in a backup, or is left out for a reason: whatever is new must be in one of the two lists. */
const dir = mkdtempSync(join(tmpdir(), 'persona-router-complete-'))
let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(async () => {
  await redis.discard()
  rmSync(dir, { recursive: true })
})

describe.each(Object.entries({ SQLite: sqliteBackup, Redis: redisBackup }))('%s', (_, { CARRIED, LEFT_OUT }) => {
  test('nothing is in both lists; each kind of row carries something, and each reason is one', () => {
    expect(Object.keys(CARRIED).filter((name) => name in LEFT_OUT)).toEqual([])
    expect(new Set(Object.values(CARRIED))).toEqual(new Set(ROW_TYPES))
    for (const why of Object.values(LEFT_OUT)) expect(why.length).toBeGreaterThan(4)
  })
})

test('each table of SQLite is in a backup, or left out for a reason', async () => {
  const path = join(dir, 'store.db')
  await (await openStore({ kind: 'sqlite', path, retention_days: 90 })).close()
  const db = new DatabaseSync(path)
  const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all()
  db.close()
  const known = { ...sqliteBackup.CARRIED, ...sqliteBackup.LEFT_OUT }
  expect(tables.length).toBeGreaterThan(15)
  expect(tables.map(({ name }) => String(name)).sort()).toEqual(Object.keys(known).sort())
})

/** `pr:{tenant}:<kind>…`, or the whole name. */
const kindOf = (key: string) => /^pr:\{[^}]*\}:([^:]+)/.exec(key)?.[1] ?? key
const isKnown = (key: string) =>
  [key, kindOf(key)].some((name) => name in redisBackup.CARRIED || name in redisBackup.LEFT_OUT)

test('each kind of key that Redis may hold is in a backup, or left out for a reason', () => {
  const names = Object.entries(keys).flatMap(([name, value]) => {
    if (name === 'tag') return []
    if (typeof value === 'string') return [value]
    if (typeof value === 'object') return Object.values(value)
    return [name === 'heartbeatChannel' ? keys.heartbeatChannel('') : (value as (...of: string[]) => string)('t', 'x')]
  })
  expect(names.length).toBeGreaterThan(30)
  expect(names.filter((name) => !isKnown(name))).toEqual([])
})

test('so is each key that scripts name themselves, and each that lies in a store that was used', async () => {
  const directory = new URL('../../../src/store/redis/commands/', import.meta.url)
  const lua = (name: string) => readFileSync(new URL(name, directory), 'utf8')
  const named = ['batch.lua', 'append-interactions.lua', 'open-interactions.lua', 'move-user.lua'].flatMap((name) =>
    [...lua(name).matchAll(/(?:prefix|KEYS\[1\]) \.\. '([a-z-]+)/g)].map(([, kind]) => `pr:{t}:${kind}`),
  )
  expect(named.length).toBeGreaterThan(15)
  const store = await openStore({ kind: 'redis', url: redis.url, retention_days: 90, command_timeout_ms: 5_000 })
  await fill(store)
  const found = (await redis.command('KEYS', '*')) as string[]
  await store.close()
  expect(found.length).toBeGreaterThan(100)
  expect([...named, ...found].filter((key) => !isKnown(key))).toEqual([])
})
