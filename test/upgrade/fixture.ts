import { cpSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { Redis } from 'ioredis'
import type { RedisServer } from '../support/redis.ts'
import type { Memories } from './live.ts'
import type { Observed } from './observe.ts'

/**
 * What a version kept, and what it said of it. In a folder of `test/fixtures/upgrade/`, a kind of store each:
 *
 * - `about.json`: which commit made it, when, and what its clients hold
 * - `store.gz`: a SQLite file; or a line a key of Redis, `[key, payload of DUMP]`
 * - `spool/`: as a process left it that was killed while its store took nothing
 * - `expected.json.gz`: what that version itself said, once it had taken over the spool
 */
export interface Fixture {
  kind: 'sqlite' | 'redis'
  /** Of the version that made it. */
  commit: string
  /** Unix milliseconds: its present. */
  madeAt: number
  memories: Memories
  /** Not in the log: of a user who was erased before it arrived. */
  late: string
  expected: Observed
}

const FOLDER = join(import.meta.dirname, '../fixtures/upgrade')
/** No host is called so: its processes are dead. */
const OLD_HOST = 'old-host-1-00000000'
const HOUR_MS = 3_600_000

/** Version and kind of store of each, such as `2026.11/redis`. */
export const fixtures = (): string[] =>
  readdirSync(FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'artifact')
    .flatMap(({ name }) => readdirSync(join(FOLDER, name)).map((kind) => `${name}/${kind}`))

export function readFixture(name: string): Fixture {
  const read = (file: string) => readFileSync(join(FOLDER, name, file))
  return {
    ...JSON.parse(String(read('about.json'))),
    expected: JSON.parse(String(gunzipSync(read('expected.json.gz')))),
  }
}

/** Its present, for a process that it is opened by (`test/support/jumping-clock.mjs`). */
export function clockOf({ madeAt }: Fixture, dir: string): Record<string, string> {
  const file = join(dir, 'clock')
  writeFileSync(file, `${Math.round((madeAt + 60_000 - Date.now()) / 1000)}`)
  const clock = new URL('../support/jumping-clock.mjs', import.meta.url).href
  return { CLOCK_FILE: file, NODE_OPTIONS: `--import=${clock}` }
}

/** Lays the spool of a dead process into a gateway's directory; what it owes of limits, as `loadKeys` does. */
export function layOutSpool(name: string, { kind, madeAt }: Fixture, dir: string): void {
  const spool = join(dir, 'spool')
  cpSync(join(FOLDER, name, 'spool'), spool, { recursive: true })
  const longAgo = new Date(madeAt - HOUR_MS)
  for (const entry of readdirSync(spool, { recursive: true, encoding: 'utf8' })) {
    const path = join(spool, entry)
    if (kind === 'redis' && path.endsWith('.ndjson')) {
      const text = readFileSync(path, 'utf8')
      writeFileSync(path, text.replaceAll(/^(\{"type":"charge".*?"at":)\d+/gm, `$1${Date.now()}`))
    }
    utimesSync(path, longAgo, longAgo)
  }
}

/** @returns path of the SQLite file */
export function layOutFile(name: string, dir: string): string {
  const path = join(dir, 'gateway.db')
  writeFileSync(path, gunzipSync(readFileSync(join(FOLDER, name, 'store.gz'))), { mode: 0o600 })
  return path
}

/**
 * Loads the keys of Redis. Their ends are not kept, and what was spent in the fixture's month was spent in this one,
 * and in the next, which may begin meanwhile: windows are by the server's clock.
 */
export async function loadKeys(name: string, server: RedisServer): Promise<void> {
  const lines = String(gunzipSync(readFileSync(join(FOLDER, name, 'store.gz'))))
  const client = new Redis(server.url)
  try {
    for (const line of lines.split('\n').filter(Boolean)) {
      const [key, payload] = JSON.parse(line) as [string, string]
      for (const target of inThisMonth(key)) await client.restore(target, 0, Buffer.from(payload, 'base64'))
    }
  } finally {
    client.disconnect()
  }
}

function inThisMonth(key: string): string[] {
  const [, counter] = /^(pr:\{[^}]*\}:limit:.*:month:)\d+$/.exec(key) ?? []
  if (counter === undefined) return [key]
  const now = new Date()
  return [0, 1].map((months) => counter + Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + months))
}

/** The way there. `store`: a SQLite file, or the lines. */
export function writeFixture(
  name: string,
  { expected, ...about }: Fixture,
  { store, spool }: { store: Buffer; spool: readonly { file: string; text: string }[] },
): void {
  const folder = join(FOLDER, name)
  const home = join(folder, 'spool', OLD_HOST)
  mkdirSync(home, { recursive: true })
  writeFileSync(join(folder, 'about.json'), `${JSON.stringify(about, null, 2)}\n`)
  writeFileSync(join(folder, 'store.gz'), gzipSync(store, { level: 9 }))
  writeFileSync(join(folder, 'expected.json.gz'), gzipSync(JSON.stringify(expected), { level: 9 }))
  writeFileSync(join(home, 'owner.json'), JSON.stringify({ host: 'old-host', pid: 1, startedAt: '1' }))
  for (const { file, text } of spool) writeFileSync(join(home, file), text)
}

/** All keys of a Redis, as lines. */
export async function dumpKeys(server: RedisServer): Promise<Buffer> {
  const client = new Redis(server.url)
  try {
    // Processes, which are gone by then.
    const keys = (await client.keys('*')).filter((key) => key !== 'pr:replicas').sort()
    const payloads = await Promise.all(keys.map((key) => client.dumpBuffer(key)))
    return Buffer.from(keys.map((key, i) => `${JSON.stringify([key, payloads[i]?.toString('base64')])}\n`).join(''))
  } finally {
    client.disconnect()
  }
}
