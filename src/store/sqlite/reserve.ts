import { closeSync, openSync, rmSync, statSync, writeSync } from 'node:fs'

/** Some dozens of revocations in the write-ahead log. */
const BYTES = 1024 * 1024
const ZEROS = Buffer.alloc(BYTES)

/** Room on the disk, taken while there is some, and given back for a change that must not wait for more. */
export class DiskReserve {
  readonly #path: string | null

  /** @param path of the database */
  constructor(path: string) {
    this.#path = path === ':memory:' ? null : `${path}-reserve`
    this.keep()
  }

  /** Takes the room, if it is not taken and there is some. */
  keep(): void {
    if (this.#path === null || this.#isKept(this.#path)) return
    try {
      const fd = openSync(this.#path, 'w', 0o600)
      try {
        // Written, not only stretched: a hole takes no room.
        writeSync(fd, ZEROS)
      } finally {
        closeSync(fd)
      }
    } catch {
      // What little was written is given back, too.
      rmSync(this.#path, { force: true })
    }
  }

  /** False: there was none. */
  release(): boolean {
    if (this.#path === null || !this.#isKept(this.#path)) return false
    rmSync(this.#path, { force: true })
    return true
  }

  #isKept(path: string): boolean {
    return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) >= BYTES
  }
}
