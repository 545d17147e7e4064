import { hash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { RecordFilter } from '../store.ts'
import { dayOf } from '../usage.ts'
import { documentOf, IDENTITY, identityOf, type Kind, type Row, rowOf } from './columns.ts'
import { ArchiveError, readFile, removeFile, writeFile } from './parquet.ts'

/** Rows of one tenant and UTC day, as a folder of files. */
export interface Partition {
  tenant: string
  /** `2026-11-28` */
  day: string
}

export interface ArchiveFile extends Partition {
  kind: Kind
  path: string
}

const LOCK = 'archive.lock'
const HEARTBEAT_MS = 5_000
/** A lock that was not touched for so long is a dead process's: one that can't be looked for is on another host. */
const SILENCE_MS = 60_000
const ERASURES = 'erasures.json'

/**
 * Old log rows as Parquet files, `tenant=<name>/day=<UTC day>/<kind>s-<time>-<hash>.parquet`, whose columns are the
 * fields of `docs/records.md`. Other programs may read it; one process of ours works on it at a time.
 */
export class Archive {
  readonly path: string
  readonly #heartbeat: NodeJS.Timeout

  private constructor(path: string) {
    this.path = path
    this.#heartbeat = setInterval(() => touch(join(path, LOCK)), HEARTBEAT_MS).unref()
  }

  /** @throws ArchiveError where another process is at work on it, or it is not there and is not to be made */
  static open(path: string, { make = false } = {}): Archive {
    if (make) mkdirSync(path, { recursive: true, mode: 0o700 })
    else if (!existsSync(path)) throw new ArchiveError(`${path}: there is no archive.`)
    takeLock(join(path, LOCK))
    return new Archive(path)
  }

  close(): void {
    clearInterval(this.#heartbeat)
    rmSync(join(this.path, LOCK), { force: true })
  }

  tenants(): string[] {
    return partsOf(this.path, 'tenant')
  }

  /** In order of tenants, days and times. */
  *files(kind: Kind, { tenant, since, until }: RecordFilter = {}): Generator<ArchiveFile> {
    const [first, last] = [since === undefined ? '' : dayOf(since), until === undefined ? '9' : dayOf(until)]
    for (const name of tenant === undefined ? this.tenants() : [tenant]) {
      const folder = join(this.path, partName('tenant', name))
      for (const day of partsOf(folder, 'day')) {
        if (day >= first && day <= last) yield* this.filesOf(kind, { tenant: name, day })
      }
    }
  }

  *filesOf(kind: Kind, partition: Partition): Generator<ArchiveFile> {
    const folder = this.#folderOf(partition)
    const names = existsSync(folder) ? readdirSync(folder).sort() : []
    for (const name of names) {
      if (name.startsWith(`${kind}s-`) && name.endsWith('.parquet')) {
        yield { ...partition, kind, path: join(folder, name) }
      }
    }
  }

  /** As `Store.readInteractions` and `readRewards`: batches in order of tenants and days. @throws ArchiveError */
  async *read<K extends Kind>(kind: K, filter: RecordFilter = {}): AsyncGenerator<Row<K>[]> {
    const { user, since = 0, until = Number.POSITIVE_INFINITY } = filter
    for (const { path } of this.files(kind, filter)) {
      for await (const documents of readFile(path, kind)) {
        const wanted = documents.filter(
          ({ ts, user: of }) => Number(ts) >= since && Number(ts) <= until && (user === undefined || of === user),
        )
        if (wanted.length > 0) yield wanted.map((document) => rowOf(kind, document))
      }
    }
  }

  /** Of these records, what is archived already, in files other than those `besides`. */
  async known(
    kind: Kind,
    partition: Partition,
    among: ReadonlySet<string>,
    besides: ReadonlySet<string> = new Set(),
  ): Promise<Set<string>> {
    const known = new Set<string>()
    for (const { path } of this.filesOf(kind, partition)) {
      if (besides.has(path)) continue
      for await (const documents of readFile(path, kind, IDENTITY[kind])) {
        for (const document of documents) {
          const identity = identityOf(kind, document)
          if (among.has(identity)) known.add(identity)
        }
      }
    }
    return known
  }

  /** Adds a file. It is on the disk, and was read back, when this resolves. @returns its path. @throws ArchiveError */
  async add<K extends Kind>(kind: K, partition: Partition, rows: readonly Row<K>[]): Promise<string> {
    const folder = this.#folderOf(partition)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const documents = rows.map((row) => documentOf(kind, row))
    const name = hash('sha256', documents.map((document) => identityOf(kind, document)).join('\0'), 'base64url')
    const first = String(documents[0]?.ts ?? 0).padStart(15, '0')
    const path = join(folder, `${kind}s-${first}-${name.slice(0, 8)}.parquet`)
    await writeFile(path, kind, documents)
    return path
  }

  /** Takes rows out of a file. @returns how many. @throws ArchiveError */
  async rewrite({ path, kind }: ArchiveFile, stays: (document: Record<string, unknown>) => boolean): Promise<number> {
    const kept: Record<string, unknown>[] = []
    let rows = 0
    for await (const documents of readFile(path, kind)) {
      rows += documents.length
      for (const document of documents) if (stays(document)) kept.push(document)
    }
    if (kept.length === 0) removeFile(path)
    else if (kept.length < rows) await writeFile(path, kind, kept)
    return rows - kept.length
  }

  /** Drops whole days before this one. @returns how many */
  dropBefore(day: string): number {
    let gone = 0
    for (const tenant of this.tenants()) {
      for (const old of partsOf(join(this.path, partName('tenant', tenant)), 'day')) {
        if (old >= day) continue
        rmSync(this.#folderOf({ tenant, day: old }), { recursive: true, force: true })
        gone++
      }
    }
    return gone
  }

  /** Removes what a run that was killed had not finished. */
  tidy(): void {
    for (const entry of readdirSync(this.path, { recursive: true, encoding: 'utf8' })) {
      if (entry.endsWith('.part')) rmSync(join(this.path, entry), { force: true })
    }
  }

  /** Erasures that were carried out here, by `tenant user-hash`: when each user was erased, Unix milliseconds. */
  loadErasures(): Record<string, number> {
    const file = join(this.path, ERASURES)
    return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
  }

  saveErasures(done: Record<string, number>): void {
    writeFileSync(join(this.path, ERASURES), JSON.stringify(done), { mode: 0o600 })
  }

  #folderOf({ tenant, day }: Partition): string {
    return join(this.path, partName('tenant', tenant), partName('day', day))
  }
}

/** As Hive names partitions, which most readers of Parquet know. */
const partName = (key: string, value: string) => `${key}=${encodeURIComponent(value)}`

function partsOf(folder: string, key: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.startsWith(`${key}=`))
    .map((name) => decodeURIComponent(name.slice(key.length + 1)))
    .sort()
}

interface Holder {
  host: string
  pid: number
}

function takeLock(file: string): void {
  for (let tries = 0; ; tries++) {
    try {
      const holder: Holder = { host: hostname(), pid: process.pid }
      writeFileSync(file, JSON.stringify(holder), { flag: 'wx', mode: 0o600 })
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      if (tries > 0 || !isDead(file)) {
        throw new ArchiveError(
          `${file}: another process is at work on this archive. If there is none, remove the file.`,
        )
      }
      rmSync(file, { force: true })
    }
  }
}

function touch(file: string): void {
  const now = new Date()
  try {
    utimesSync(file, now, now)
  } catch {
    // Removed by hand, or the disk is gone: that shows where something is written.
  }
}

function isDead(file: string): boolean {
  try {
    if (Date.now() - statSync(file).mtimeMs > SILENCE_MS) return true
    const { host, pid } = JSON.parse(readFileSync(file, 'utf8')) as Holder
    if (host !== hostname() || pid === process.pid) return false
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
