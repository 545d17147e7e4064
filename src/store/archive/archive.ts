import { hash, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { RecordFilter } from '../store.ts'
import { dayOf } from '../usage.ts'
import { documentOf, IDENTITY, identityOf, type Kind, type Row, rowOf } from './columns.ts'
import { ArchiveError, readFile, removeFile, replaceFile, writeFile } from './parquet.ts'

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
const erasuresSchema = z.record(z.string(), z.number())
/** What `writeFile` had begun. */
const UNFINISHED = /^(interactions|rewards)-.*\.parquet\.part$/
/** What a mounted file system has of its own. */
const NOBODYS = /^(\..*|lost\+found)$/

/**
 * Old log rows as Parquet files, `tenant=<name>/day=<UTC day>/<kind>s-<time>-<hash>.parquet`, whose columns are the
 * fields of `docs/records.md`. Other programs may read it; one process of ours works on it at a time.
 */
export class Archive {
  readonly path: string
  readonly #token: string
  readonly #heartbeat: NodeJS.Timeout

  private constructor(path: string) {
    this.path = path
    this.#token = takeLock(join(path, LOCK))
    this.#heartbeat = setInterval(() => this.#touch(), HEARTBEAT_MS).unref()
  }

  /**
   * @throws ArchiveError where another process is at work on it, where it is not there and is not to be made, and where
   * other things are
   */
  static open(path: string, { make = false } = {}): Archive {
    if (make) mkdirSync(path, { recursive: true, mode: 0o700 })
    else if (!existsSync(path)) throw new ArchiveError(`${path}: there is no archive.`)
    refuseOthers(path)
    return new Archive(path)
  }

  close(): void {
    clearInterval(this.#heartbeat)
    if (this.#isOurs()) rmSync(join(this.path, LOCK), { force: true })
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
    await writeFile(path, kind, documents, () => this.#refuseLost())
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
    this.#refuseLost()
    if (kept.length === 0) removeFile(path)
    else if (kept.length < rows) await writeFile(path, kind, kept, () => this.#refuseLost())
    return rows - kept.length
  }

  /** Drops whole days before this one. @returns how many */
  dropBefore(day: string): number {
    let gone = 0
    for (const tenant of this.tenants()) {
      for (const old of partsOf(join(this.path, partName('tenant', tenant)), 'day')) {
        if (old >= day) continue
        this.#refuseLost()
        rmSync(this.#folderOf({ tenant, day: old }), { recursive: true, force: true })
        gone++
      }
    }
    return gone
  }

  /** Removes what a run that was killed had not finished. Other programs' files stay, whatever they are called. */
  tidy(): void {
    this.#refuseLost()
    for (const tenant of this.tenants()) {
      for (const day of partsOf(join(this.path, partName('tenant', tenant)), 'day')) {
        const folder = this.#folderOf({ tenant, day })
        for (const name of existsSync(folder) ? readdirSync(folder) : []) {
          if (UNFINISHED.test(name)) rmSync(join(folder, name), { force: true })
        }
      }
    }
  }

  /**
   * Erasures that were carried out here, by `tenant user-hash`: when each user was erased, Unix milliseconds.
   * None where the file can't be read: what is done again does no harm.
   *
   * @param onProblem told of such a file
   */
  loadErasures(onProblem: (problem: string) => void): Record<string, number> {
    const file = join(this.path, ERASURES)
    if (!existsSync(file)) return {}
    try {
      return erasuresSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
    } catch {
      onProblem(`${file} can't be read: who was erased is looked for in all files again.`)
      return {}
    }
  }

  saveErasures(done: Record<string, number>): void {
    const file = join(this.path, ERASURES)
    writeFileSync(`${file}.part`, JSON.stringify(done), { mode: 0o600 })
    this.#refuseLost()
    replaceFile(`${file}.part`, file)
  }

  #isOurs(): boolean {
    return holderOf(join(this.path, LOCK))?.token === this.#token
  }

  /** After a silence another process may have taken the archive over. @throws ArchiveError */
  #refuseLost(): void {
    if (this.#isOurs()) return
    throw new ArchiveError(
      `${join(this.path, LOCK)} is no longer this process’s: another one may be at work. Run again.`,
    )
  }

  #touch(): void {
    const now = new Date()
    try {
      if (this.#isOurs()) utimesSync(join(this.path, LOCK), now, now)
    } catch {
      // Removed by hand, or the disk is gone: that shows where something is written.
    }
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

/** @throws ArchiveError where the directory is somebody else's: an archive is empty at first */
function refuseOthers(path: string): void {
  const names = readdirSync(path).filter((name) => name !== LOCK && !NOBODYS.test(name))
  if (names.length === 0 || names.some((name) => name.startsWith('tenant=') || name === ERASURES)) return
  throw new ArchiveError(`${path} is not empty, and is no archive: ${names[0]} is there. Name another directory.`)
}

interface Holder {
  host: string
  pid: number
  token: string
}

/** @returns what tells this holder from others of this process, and from those that took the lock later */
function takeLock(file: string): string {
  for (let tries = 0; ; tries++) {
    try {
      const holder: Holder = { host: hostname(), pid: process.pid, token: randomUUID() }
      writeFileSync(file, JSON.stringify(holder), { flag: 'wx', mode: 0o600 })
      return holder.token
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

function holderOf(file: string): Partial<Holder> | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<Holder> | null
  } catch {
    return null
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
