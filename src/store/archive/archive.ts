import { hash } from 'node:crypto'
import { z } from 'zod'
import { namesOf } from '../records/codec.ts'
import type { Erasure, Move, RecordFilter } from '../store.ts'
import { dayOf } from '../usage.ts'
import { documentOf, IDENTITY, identityOf, type Kind, type Row, rowsOf } from './columns.ts'
import { erasedAmong, type IsErased } from './erased.ts'
import { ArchiveError, type ArchiveHome, type ArchiveLock } from './home.ts'
import { MovedUsers } from './moved-users.ts'
import { encodeFile, readFile, readTable, type Table, tableOf } from './parquet.ts'
import { openHome } from './places.ts'

/** Rows of one tenant and UTC day, as a folder of files. */
export interface Partition {
  tenant: string
  /** `2026-11-28` */
  day: string
}

export interface ArchiveFile extends Partition {
  kind: Kind
  /** In the archive. */
  path: string
}

const LOCK = 'archive.lock'
const ERASURES = 'erasures.json'
const MOVES = 'moves.json'
const OWN_FILES = [LOCK, ERASURES, MOVES]
const erasuresSchema = z.record(z.string(), z.number())
/** What the archive itself writes into a day's folder. */
const OURS = /^tenant=[^/]*\/day=[^/]*\/(interactions|rewards)-[^/]*\.parquet$/

const isOurs = (path: string) => OWN_FILES.includes(path) || OURS.test(path)

/**
 * Old log rows as Parquet files, `tenant=<name>/day=<UTC day>/<kind>s-<time>-<hash>.parquet`, whose columns are the
 * fields of `docs/records.md`. Other programs may read it; one process of ours works on it at a time.
 */
export class Archive {
  /** As it was named. */
  readonly place: string
  readonly #home: ArchiveHome
  readonly #lock: ArchiveLock
  readonly #moved: MovedUsers
  #isErased: IsErased = () => false

  private constructor(place: string, home: ArchiveHome, lock: ArchiveLock, moved: MovedUsers) {
    this.place = place
    this.#moved = moved
    this.#home = home
    this.#lock = lock
  }

  /**
   * @param place a directory, or `s3://bucket/prefix`
   * @throws ArchiveError where another process is at work on it, where it is not there and is not to be made, and where
   * other things are
   */
  static async open(place: string, { make = false } = {}): Promise<Archive> {
    const home = await openHome(place, { make })
    let lock: ArchiveLock | null = null
    try {
      await refuseOthers(place, home)
      lock = await home.lock(LOCK)
      return new Archive(place, home, lock, readMoves(await home.read(MOVES), home.shown(MOVES)))
    } catch (error) {
      await lock?.release().catch(() => undefined)
      home.close()
      throw error
    }
  }

  async close(): Promise<void> {
    try {
      await this.#lock.release()
    } finally {
      this.#home.close()
    }
  }

  tenants(): Promise<string[]> {
    return this.#partsOf('', 'tenant')
  }

  /** In order of tenants, days and times. */
  async *files(kind: Kind, { tenant, since, until }: RecordFilter = {}): AsyncGenerator<ArchiveFile> {
    const [first, last] = [since === undefined ? '' : dayOf(since), until === undefined ? '9' : dayOf(until)]
    for (const name of tenant === undefined ? await this.tenants() : [tenant]) {
      for (const day of await this.#partsOf(partName('tenant', name), 'day')) {
        if (day >= first && day <= last) yield* this.filesOf(kind, { tenant: name, day })
      }
    }
  }

  async *filesOf(kind: Kind, partition: Partition): AsyncGenerator<ArchiveFile> {
    const folder = folderOf(partition)
    for (const name of await this.#home.files(folder)) {
      if (name.startsWith(`${kind}s-`) && name.endsWith('.parquet')) {
        yield { ...partition, kind, path: `${folder}/${name}` }
      }
    }
  }

  /** Rows of a file as documents, some thousand at a time. @param names of columns; all where left out */
  async *documents({ path, kind }: ArchiveFile, names?: readonly string[]): AsyncGenerator<Record<string, unknown>[]> {
    const bytes = await this.#home.open(path, names === undefined)
    yield* readFile({ bytes, shown: this.#home.shown(path) }, kind, names)
  }

  /**
   * Rows of who has been erased since are not read from now on. They are there until they are taken out, which is the
   * work of whoever writes it (`eraseRows`).
   */
  leaveOut(erasures: readonly Erasure[]): void {
    this.#isErased = erasedAmong(erasures, (tenant, user) => this.presentId(tenant, user))
  }

  /** By the present ids of their users. */
  async *#presentDocuments(file: ArchiveFile, names?: readonly string[]): AsyncGenerator<Record<string, unknown>[]> {
    for await (const all of this.documents(file, names)) {
      const documents = all.filter((document) => !this.#isErased(file.tenant, document))
      for (const document of documents) document.user = this.#moved.presentId(file.tenant, String(document.user))
      yield documents
    }
  }

  /** As `Store.readInteractions` and `readRewards`: batches in order of tenants and days. @throws ArchiveError */
  async *read<K extends Kind>(kind: K, filter: RecordFilter = {}): AsyncGenerator<Row<K>[]> {
    const { user, since = 0, until = Number.POSITIVE_INFINITY, fields } = filter
    const [row, columns] = [rowsOf(kind, fields), fields && ['ts', 'user', 'asked_at', ...namesOf(kind, fields)]]
    for await (const file of this.files(kind, filter)) {
      for await (const documents of this.#presentDocuments(file, columns)) {
        const wanted = documents.filter(
          ({ ts, user: of }) => Number(ts) >= since && Number(ts) <= until && (user === undefined || of === user),
        )
        if (wanted.length > 0) yield wanted.map(row)
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
    for await (const file of this.filesOf(kind, partition)) {
      if (besides.has(file.path)) continue
      for await (const documents of this.#presentDocuments(file, IDENTITY[kind])) {
        for (const document of documents) {
          const identity = identityOf(kind, document)
          if (among.has(identity)) known.add(identity)
        }
      }
    }
    return known
  }

  /** Adds a file. It is kept, and was read back, when this resolves. @returns its path. @throws ArchiveError */
  async add<K extends Kind>(kind: K, partition: Partition, rows: readonly Row<K>[]): Promise<string> {
    const documents = rows.map((row) => documentOf(kind, row))
    const name = hash('sha256', documents.map((document) => identityOf(kind, document)).join('\0'), 'base64url')
    const first = String(documents[0]?.ts ?? 0).padStart(15, '0')
    const path = `${folderOf(partition)}/${kind}s-${first}-${name.slice(0, 8)}.parquet`
    await this.#write(path, kind, tableOf(kind, documents))
    return path
  }

  /**
   * Takes rows out of a file.
   *
   * @param names of columns that `stays` looks at
   * @returns how many. @throws ArchiveError
   */
  async rewrite(
    { path, kind }: ArchiveFile,
    names: readonly string[],
    stays: (document: Record<string, unknown>) => boolean,
  ): Promise<number> {
    const source = { bytes: await this.#home.open(path, true), shown: this.#home.shown(path) }
    const { table, gone } = await readTable(source, kind, names, stays)
    await this.#refuseLost()
    if (table[0]?.length === 0) await this.#home.remove(path)
    else if (gone > 0) await this.#write(path, kind, table)
    return gone
  }

  async #write(path: string, kind: Kind, table: Table): Promise<void> {
    const bytes = await encodeFile(kind, table, this.#home.shown(path))
    await this.#home.write(path, bytes, () => this.#refuseLost())
  }

  /** Drops whole days before this one. @returns how many */
  async dropBefore(day: string): Promise<number> {
    let gone = 0
    for (const partition of await this.#partitions()) {
      if (partition.day >= day) continue
      await this.#refuseLost()
      await this.#home.removeFolder(folderOf(partition))
      gone++
    }
    return gone
  }

  /** Removes what a run that was cut off had not finished. Other programs' files stay, whatever they are called. */
  async tidy(): Promise<void> {
    await this.#refuseLost()
    await this.#home.tidy((await this.#partitions()).map(folderOf), isOurs)
  }

  async #partitions(): Promise<Partition[]> {
    const found: Partition[] = []
    for (const tenant of await this.tenants()) {
      for (const day of await this.#partsOf(partName('tenant', tenant), 'day')) found.push({ tenant, day })
    }
    return found
  }

  /**
   * Erasures that were carried out here, by `tenant user-hash`: when each user was erased, Unix milliseconds.
   * None where the file can't be read: what is done again does no harm.
   *
   * @param onProblem told of such a file
   */
  async loadErasures(onProblem: (problem: string) => void): Promise<Record<string, number>> {
    const text = await this.#home.read(ERASURES)
    if (text === null) return {}
    try {
      return erasuresSchema.parse(JSON.parse(text))
    } catch {
      onProblem(`${this.#home.shown(ERASURES)} can't be read: who was erased is looked for in all files again.`)
      return {}
    }
  }

  async saveErasures(done: Record<string, number>): Promise<void> {
    await this.#home.write(ERASURES, Buffer.from(JSON.stringify(done)), () => this.#refuseLost())
  }

  /** Who has got another id since rows were archived. Kept with the archive by `saveMoves` alone. */
  async takeMoves(moves: AsyncIterable<Move[]> | Iterable<Move[]>): Promise<void> {
    for await (const some of moves) this.#moved.take(some)
  }

  presentId(tenant: string, user: string): string {
    return this.#moved.presentId(tenant, user)
  }

  /** Of users who are erased. @param isErased told a former id */
  forgetMoves(tenant: string, isErased: (former: string) => boolean): void {
    this.#moved.forget(tenant, isErased)
  }

  async saveMoves(): Promise<void> {
    if (!this.#moved.hasChanged) return
    await this.#home.write(MOVES, Buffer.from(this.#moved.toJson()), () => this.#refuseLost())
    this.#moved.hasChanged = false
  }

  /** After a silence another process may have taken the archive over. @throws ArchiveError */
  async #refuseLost(): Promise<void> {
    if (await this.#lock.isOurs()) return
    throw new ArchiveError(
      `${this.#home.shown(LOCK)} is no longer this process’s: another one may be at work. Run again.`,
    )
  }

  async #partsOf(folder: string, key: string): Promise<string[]> {
    return (await this.#home.folders(folder))
      .filter((name) => name.startsWith(`${key}=`))
      .map((name) => decodeURIComponent(name.slice(key.length + 1)))
      .sort()
  }
}

/** As Hive names partitions, which most readers of Parquet know. */
const partName = (key: string, value: string) => `${key}=${encodeURIComponent(value)}`

const folderOf = ({ tenant, day }: Partition) => `${partName('tenant', tenant)}/${partName('day', day)}`

/** @throws ArchiveError where something else lies there: an archive is empty at first */
async function refuseOthers(place: string, home: ArchiveHome): Promise<void> {
  const names = [...(await home.folders('')), ...(await home.files(''))].filter((name) => name !== LOCK).sort()
  if (names.length === 0 || names.some((name) => name.startsWith('tenant=') || OWN_FILES.includes(name))) return
  throw new ArchiveError(`${place} is not empty, and is no archive: ${names[0]} is there. Name another place.`)
}

/** @throws ArchiveError: without it a user who has moved would be two, and what is erased would be found no more */
function readMoves(text: string | null, shown: string): MovedUsers {
  try {
    return MovedUsers.parse(text)
  } catch {
    throw new ArchiveError(`${shown} can’t be read: bring it back from a copy, or remove it and lose who has moved.`)
  }
}
