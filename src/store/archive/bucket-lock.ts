import { randomUUID } from 'node:crypto'
import { lifeOf, markOfThisProcess } from '../../runtime/process-mark.ts'
import { type ArchiveLock, type Holder, heldBy, holderOf } from './home.ts'

const HEARTBEAT_MS = 20_000
/** A lock that was not written for so long is a dead process's. Clocks may differ by a part of it. */
const SILENCE_MS = 300_000

/** The object that is the lock. */
export interface LockObject {
  shown: string
  /** Null where there is none. `at`: when it was written, Unix milliseconds. */
  read(): Promise<{ text: string; etag: string; at: number } | null>
  /**
   * @param etag of what is replaced; null: there must be nothing
   * @returns the new one's; null where the condition did not hold
   */
  write(text: string, etag: string | null): Promise<string | null>
  remove(): Promise<void>
  /** By the clock of the bucket, as far as it is known. */
  now(): number
}

/** A lock in a bucket: written under a condition, so that of two processes one has it. */
export class BucketLock implements ArchiveLock {
  readonly #object: LockObject
  readonly #holder: Holder
  #etag: string
  #heartbeat: NodeJS.Timeout
  #beating: Promise<void> = Promise.resolve()

  private constructor(object: LockObject, holder: Holder, etag: string) {
    this.#object = object
    this.#holder = holder
    this.#etag = etag
    this.#heartbeat = setInterval(() => {
      this.#beating = this.#beat()
    }, HEARTBEAT_MS).unref()
  }

  /** @throws ArchiveError where another process has it */
  static async take(object: LockObject): Promise<BucketLock> {
    const holder: Holder = { ...markOfThisProcess(), token: randomUUID() }
    let written = await write(object, holder, null)
    if (!('etag' in written)) {
      const { found } = written
      if (found && lifeOf(holderOf(found.text)) !== 'gone' && object.now() - found.at < SILENCE_MS) {
        throw heldBy(object.shown)
      }
      written = await write(object, holder, found?.etag ?? null)
    }
    if (!('etag' in written)) throw heldBy(object.shown)
    return new BucketLock(object, holder, written.etag)
  }

  async isOurs(): Promise<boolean> {
    return holderOf((await this.#object.read())?.text ?? null)?.token === this.#holder.token
  }

  async release(): Promise<void> {
    clearInterval(this.#heartbeat)
    await this.#beating
    if (await this.isOurs()) await this.#object.remove()
  }

  async #beat(): Promise<void> {
    try {
      const written = await write(this.#object, this.#holder, this.#etag)
      if ('etag' in written) this.#etag = written.etag
    } catch {
      // Out of reach, or taken over: that shows where something is written.
    }
  }
}

/**
 * A write whose reply was lost is tried again by the client, and refused: what it wrote itself is there by then.
 *
 * @returns the etag where the lock is the holder's; what is there where it is not
 */
async function write(object: LockObject, holder: Holder, replaced: string | null) {
  const etag = await object.write(JSON.stringify(holder), replaced)
  if (etag !== null) return { etag }
  const found = await object.read()
  return found && holderOf(found.text)?.token === holder.token ? { etag: found.etag } : { found }
}
