import { closeSync, fdatasync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolder } from '../../runtime/make-folder.ts'
import type { StoreError } from '../store.ts'
import { type Lines, nextLines, type Segment } from './segment.ts'

const BATCH_BYTES = 128 * 1024
const RETRY_MS = 250
/** Tenants that are tried at once: a call to a part that hangs takes seconds to fail. */
const AT_ONCE = 64

/** One tenant's. */
interface Queue extends Segment {
  tenant: string
  /** Everything before it was delivered so long ago that the store, should it die, has it on its disk. */
  safe: number
  /** Where `offset` was, and when: it becomes `safe`. */
  mark: number
  markedAt: number
  isEmpty: boolean
  running: Promise<void> | null
  /** Why the last try failed. */
  reason: string
}

export interface ParkedOptions {
  /** Of this process alone. */
  dir: string
  maxBytes: number
  /** How long delivered lines are kept, to be delivered again. */
  keepMs: number
  /** @throws where the tenant's part of the store is away */
  deliver(lines: Lines): Promise<void>
  /** The first tenant waits. */
  away(error: StoreError): void
  /** None waits any more. */
  back(): void
}

/**
 * Lines of tenants whose part of the store is away, in a file each, so that others' need not wait behind them. Each
 * tenant's are delivered in order, once the store takes them. A process that dies leaves them in its spool's folder,
 * and its heir delivers all of a file again: the store leaves out what it has.
 */
export class Parked {
  readonly #options: ParkedOptions
  /** In the order in which they are tried next; also those that are empty by now, for a while. */
  readonly #queues = new Map<string, Queue>()
  #waiting = 0
  #files = 0
  #pendingBytes = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: ParkedOptions) {
    this.#options = options
  }

  /** What comes of this tenant has to wait, too. */
  has(tenant: string): boolean {
    return this.#queues.get(tenant)?.isEmpty === false
  }

  /** Why somebody waits; null: nobody does. */
  get reason(): string | null {
    if (this.#waiting === 0) return null
    return [...this.#queues.values()].find(({ isEmpty }) => !isEmpty)?.reason ?? null
  }

  /** Not delivered yet. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /**
   * From now on the tenant waits.
   *
   * @param again lines that the store may have lost, though it had taken them
   * @throws Error where the disk refuses
   */
  begin(tenant: string, again: readonly string[], error: StoreError): void {
    const queue = this.#queues.get(tenant) ?? this.#open(tenant, error)
    queue.reason = error.message
    rewind(queue)
    this.#append(queue, again)
    queue.once = queue.size
    if (queue.isEmpty) {
      queue.isEmpty = false
      if (this.#waiting++ === 0) this.#options.away(error)
    }
    this.#tryLater()
  }

  /**
   * Parks lines of a tenant who waits, as far as there is room.
   *
   * @returns how many found room
   * @throws Error where the disk refuses
   */
  add(tenant: string, lines: readonly string[]): number {
    const queue = this.#queues.get(tenant)
    if (!queue) return 0
    const before = queue.size
    let free = this.#options.maxBytes - this.#pendingBytes
    const fit = lines.findIndex((line) => {
      free -= Buffer.byteLength(line) + 1
      return free < 0
    })
    this.#append(queue, fit < 0 ? lines : lines.slice(0, fit))
    this.#pendingBytes += queue.size - before
    return fit < 0 ? lines.length : fit
  }

  /** Tries to deliver what waits, of all or of one; resolves once it is known what came of it. */
  async flush(tenant?: string): Promise<void> {
    const queues = [...this.#queues.values()].filter((queue) => tenant === undefined || queue.tenant === tenant)
    await Promise.all(queues.map((queue) => this.#run(queue)))
  }

  /** Removes what was delivered some seconds ago. */
  tidy(): void {
    const before = performance.now() - this.#options.keepMs
    for (const [tenant, { isEmpty, markedAt, path }] of this.#queues) {
      if (!isEmpty || markedAt > before) continue
      this.#queues.delete(tenant)
      rmSync(path, { force: true })
    }
  }

  /** Leaves what waits to the next process. Nothing may be running. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const { isEmpty, path } of this.#queues.values()) if (isEmpty) rmSync(path, { force: true })
  }

  #open(tenant: string, error: StoreError): Queue {
    makeFolder(this.#options.dir, 0o700)
    const path = join(this.#options.dir, `${String(++this.#files).padStart(6, '0')}.ndjson`)
    const queue: Queue = {
      ...{ tenant, path, size: 0, offset: 0, once: 0, safe: 0, mark: 0, markedAt: performance.now() },
      ...{ isEmpty: true, running: null, reason: error.message },
    }
    this.#queues.set(tenant, queue)
    return queue
  }

  #append(queue: Queue, lines: readonly string[]): void {
    if (lines.length === 0) return
    const bytes = Buffer.from(`${lines.join('\n')}\n`)
    const fd = openSync(queue.path, 'a', 0o600)
    try {
      for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
    } catch (error) {
      ftruncateSync(fd, queue.size)
      closeSync(fd)
      throw error
    }
    fdatasync(fd, () => closeSync(fd))
    queue.size += bytes.length
  }

  #tryLater(): void {
    if (this.#closed || this.#timer || this.#waiting === 0) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#trySome()
      this.#tryLater()
    }, RETRY_MS).unref()
  }

  /** Some at a time, all in turn. */
  #trySome(): void {
    let tried = 0
    for (const queue of [...this.#queues.values()]) {
      if (queue.isEmpty || queue.running) continue
      this.#queues.delete(queue.tenant)
      this.#queues.set(queue.tenant, queue)
      void this.#run(queue)
      if (++tried === AT_ONCE) return
    }
  }

  #run(queue: Queue): Promise<void> {
    if (queue.isEmpty) return Promise.resolve()
    queue.running ??= this.#deliver(queue).finally(() => {
      queue.running = null
    })
    return queue.running
  }

  async #deliver(queue: Queue): Promise<void> {
    // Until it is known that the store takes them, little is read.
    let most = BATCH_BYTES / 16
    try {
      while (queue.offset < queue.size) {
        const lines = nextLines(queue, most)
        if (lines.lines.length > 0) await this.#options.deliver(lines)
        this.#advance(queue, lines.bytes)
        most = BATCH_BYTES
      }
    } catch (error) {
      queue.reason = error instanceof Error ? error.message : String(error)
      rewind(queue)
      return
    }
    queue.isEmpty = true
    if (--this.#waiting === 0) this.#options.back()
  }

  #advance(queue: Queue, bytes: number): void {
    queue.offset += bytes
    this.#pendingBytes -= Math.max(0, queue.offset - queue.once)
    queue.once = Math.max(queue.once, queue.offset)
    const now = performance.now()
    if (now - queue.markedAt < this.#options.keepMs && queue.offset < queue.size) return
    if (now - queue.markedAt >= this.#options.keepMs) queue.safe = queue.mark
    ;[queue.mark, queue.markedAt] = [queue.offset, now]
  }
}

/** What was taken in the last seconds may be lost, too; what comes after it is not safe before it is taken again. */
function rewind(queue: Queue): void {
  queue.offset = queue.safe
  ;[queue.mark, queue.markedAt] = [queue.offset, performance.now()]
}
