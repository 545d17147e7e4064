import { randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { type AsyncBuffer, asyncBufferFromFile } from 'hyparquet'
import { makeFolder } from '../../runtime/make-folder.ts'
import { lifeOf, markOfThisProcess } from '../../runtime/process-mark.ts'
import { ArchiveError, type ArchiveHome, type ArchiveLock, type Holder, heldBy, holderOf } from './home.ts'

const HEARTBEAT_MS = 5_000
/** A lock that was not touched for so long is a dead process's: one that can't be looked for is on another host. */
const SILENCE_MS = 60_000
const PART = '.part'
/** What a mounted file system has of its own. */
const NOBODYS = /^(\..*|lost\+found)$/

/** An archive in a directory. */
export class Directory implements ArchiveHome {
  readonly path: string

  /** @throws ArchiveError where it is not there and is not to be made */
  constructor(path: string, { make }: { make: boolean }) {
    this.path = path
    if (make) makeFolder(path, 0o700)
    else if (!existsSync(path)) throw new ArchiveError(`${path}: there is no archive.`)
  }

  shown(path: string): string {
    return join(this.path, path)
  }

  async folders(path: string): Promise<string[]> {
    return this.#names(path, true)
  }

  async files(path: string): Promise<string[]> {
    return this.#names(path, false)
  }

  #names(path: string, isFolder: boolean): string[] {
    const folder = this.shown(path)
    if (!existsSync(folder)) return []
    const entries = readdirSync(folder, { withFileTypes: true })
    return entries
      .filter((entry) => entry.isDirectory() === isFolder && !NOBODYS.test(entry.name))
      .map(({ name }) => name)
      .sort()
  }

  open(path: string): Promise<AsyncBuffer> {
    return asyncBufferFromFile(this.shown(path))
  }

  async read(path: string): Promise<string | null> {
    const file = this.shown(path)
    return existsSync(file) ? readFileSync(file, 'utf8') : null
  }

  async write(path: string, bytes: Uint8Array, beforeNaming: () => Promise<void>): Promise<void> {
    const file = this.shown(path)
    const part = `${file}${PART}`
    makeFolder(dirname(file), 0o700)
    writeFileSync(part, bytes, { mode: 0o600 })
    syncPath(part)
    if (!readFileSync(part).equals(bytes)) throw new ArchiveError(`${part} does not hold what was written to it.`)
    await beforeNaming()
    renameSync(part, file)
    syncPath(dirname(file))
  }

  async remove(path: string): Promise<void> {
    const file = this.shown(path)
    rmSync(file, { force: true })
    syncPath(dirname(file))
  }

  async removeFolder(path: string): Promise<void> {
    rmSync(this.shown(path), { recursive: true, force: true })
  }

  async tidy(folders: readonly string[], isOurs: (path: string) => boolean): Promise<void> {
    for (const folder of folders) {
      for (const name of this.#names(folder, false)) {
        const path = `${folder}/${name}`
        if (path.endsWith(PART) && isOurs(path.slice(0, -PART.length))) rmSync(this.shown(path), { force: true })
      }
    }
  }

  async lock(name: string): Promise<ArchiveLock> {
    return new FileLock(this.shown(name))
  }

  close(): void {}
}

class FileLock implements ArchiveLock {
  readonly #file: string
  readonly #token: string
  readonly #heartbeat: NodeJS.Timeout

  constructor(file: string) {
    this.#file = file
    this.#token = take(file)
    this.#heartbeat = setInterval(() => this.#touch(), HEARTBEAT_MS).unref()
  }

  async isOurs(): Promise<boolean> {
    return holderIn(this.#file)?.token === this.#token
  }

  async release(): Promise<void> {
    clearInterval(this.#heartbeat)
    if (await this.isOurs()) rmSync(this.#file, { force: true })
  }

  #touch(): void {
    const now = new Date()
    try {
      if (holderIn(this.#file)?.token === this.#token) utimesSync(this.#file, now, now)
    } catch {
      // Removed by hand, or the disk is gone: that shows where something is written.
    }
  }
}

/** @returns the token of the holder */
function take(file: string): string {
  for (let tries = 0; ; tries++) {
    try {
      const holder: Holder = { ...markOfThisProcess(), token: randomUUID() }
      writeFileSync(file, JSON.stringify(holder), { flag: 'wx', mode: 0o600 })
      return holder.token
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      if (tries > 0 || !isDead(file)) throw heldBy(file)
      rmSync(file, { force: true })
    }
  }
}

function holderIn(file: string): Partial<Holder> | null {
  try {
    return holderOf(readFileSync(file, 'utf8'))
  } catch {
    return null
  }
}

function isDead(file: string): boolean {
  try {
    if (Date.now() - statSync(file).mtimeMs > SILENCE_MS) return true
  } catch {
    return false
  }
  return lifeOf(holderIn(file)) === 'gone'
}

function syncPath(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
