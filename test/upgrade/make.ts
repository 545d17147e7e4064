// Makes a fixture of what a version keeps, for `upgrade.test.ts`: before a release, with the version to be released.
//
//     node test/upgrade/make.ts <name> [directory of that version's source]
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { call } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { startRedis } from '../support/redis.ts'
import {
  clockOf,
  dumpKeys,
  type Fixture,
  layOutFile,
  layOutSpool,
  loadKeys,
  readFixture,
  writeFixture,
} from './fixture.ts'
import { type Answer, live, liveAndGo, liveWithoutStore } from './live.ts'
import { exportedLines, observe } from './observe.ts'
import { startProvider, worldConfig } from './world.ts'

const [name, source = '.'] = process.argv.slice(2)
if (!name) throw new Error('Name the fixture, such as 2026.11.')
const root = resolve(source)
const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim()
const provider = await startProvider()

for (const kind of ['sqlite', 'redis'] as const) {
  const redis = kind === 'redis' ? await startRedis() : null
  const dir = mkdtempSync(join(tmpdir(), 'upgrade-'))
  const file = join(dir, 'gateway.db')
  const store = redis ? { kind: 'redis' as const, url: redis.url } : { kind: 'sqlite' as const, path: file }
  const gateway = await startGateway(worldConfig(provider.origin, store), { dir, root })
  const gone = await liveAndGo(gateway)
  const late = await spooledLine(gateway, gone)
  await exportedLines(gateway, { root }, [gone])
  const erased = await call(gateway, '/v1/users/dan/profile', { method: 'DELETE' })
  if (!erased.ok) throw new Error(await erased.text())
  const memories = await live(gateway)
  await exportedLines(gateway, { root }, memories.answers)
  // All of it is learned, delivered, and no longer in the spool.
  await sleep(25_000)

  const take = await refuseWrites()
  await liveWithoutStore(gateway, memories)
  await gateway.stop('SIGKILL')
  take()
  const fixture: Fixture = { kind, commit, madeAt: Date.now(), memories, late: gone.request, expected: {} }
  const spool = [{ file: '000000.ndjson', text: late }, ...segments(gateway)]
  const kept = redis ? await dumpKeys(redis) : compacted()
  await redis?.discard()
  rmSync(dir, { recursive: true, force: true })
  writeFixture(`${name}/${kind}`, fixture, { store: kept, spool })
  writeFixture(`${name}/${kind}`, { ...fixture, expected: await asSeenNow(`${name}/${kind}`) }, { store: kept, spool })

  /** @returns what makes the store take writes again */
  async function refuseWrites(): Promise<() => void> {
    if (redis) {
      await redis.command('CONFIG', 'SET', 'maxmemory', 1)
      return () => {}
    }
    const other = new DatabaseSync(file, { timeout: 10_000 })
    other.exec('BEGIN IMMEDIATE')
    return () => other.close()
  }

  function compacted(): Buffer {
    const db = new DatabaseSync(file)
    db.exec('PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)')
    db.close()
    return readFileSync(file)
  }
}
await provider.close()

/** The line of an answer while the spool still has it. */
function spooledLine(gateway: RunningGateway, { request }: Answer): Promise<string> {
  return eventually(() => {
    const lines = segments(gateway).flatMap(({ text }) => text.split('\n'))
    const line = lines.find((one) => one.startsWith('{"type":"interaction"') && one.includes(request))
    return line && `${line}\n`
  }, 'the answer is in the spool')
}

function segments({ dir }: RunningGateway): { file: string; text: string }[] {
  const spool = join(dir, 'spool')
  return readdirSync(spool, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ndjson'))
    .sort()
    .map((file) => ({ file: file.split('/').at(-1) ?? '', text: readFileSync(join(spool, file), 'utf8') }))
}

/** What the version itself makes of it. */
async function asSeenNow(of: string) {
  const fixture = readFixture(of)
  const dir = mkdtempSync(join(tmpdir(), 'upgrade-'))
  const redis = fixture.kind === 'redis' ? await startRedis() : null
  if (redis) await loadKeys(of, redis)
  layOutSpool(of, fixture, dir)
  const env = clockOf(fixture, dir)
  const store = redis
    ? { kind: 'redis' as const, url: redis.url }
    : { kind: 'sqlite' as const, path: layOutFile(of, dir) }
  const gateway = await startGateway(worldConfig(provider.origin, store), { dir, root, env })
  try {
    await exportedLines(gateway, { root, env }, fixture.memories.answers)
    // Rewards and charges of the spool come after its answers.
    await sleep(2_000)
    return await observe(gateway, fixture.memories, { root, env })
  } finally {
    await discard(gateway)
    await redis?.discard()
  }
}
