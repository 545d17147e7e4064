import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { StoreError } from '../store.ts'
import { ParkedLines } from './parked-lines.ts'
import type { Lines } from './segment.ts'

const BATCH_BYTES = 128 * 1024
const FILE_BYTES = 1024 * 1024
/** A tenant keeps up to a file more than need be: of a small bound not much of it. */
const FILES_OF_ALL = 16
const RETRY_MS = 250
/** Tenants that are tried at once: a call to a part that hangs takes seconds to fail. */
const AT_ONCE = 64

/** One tenant's. */
interface Queue<Since> {
  tenant: string
  lines: ParkedLines
  isEmpty: boolean
  running: Promise<void> | null
  /** Why the last try failed. */
  reason: string
  /** Since when they wait no more. */
  since: { place: Since; at: number } | null
}

export interface ParkedOptions<Since> {
  /** Of this process alone. */
  dir: string
  /** On disk, of all: what waits, and what has been delivered lately. */
  maxBytes: number
  /** How long delivered lines are kept, to be delivered again. */
  keepMs: number
  /** @throws where the tenant's part of the store is away */
  deliver(lines: Lines): Promise<void>
  /** How far those have come who don't wait. */
  place(): Since
  /** The first tenant waits. */
  away(error: StoreError): void
  /** None waits any more. */
  back(): void
}

/**
 * Lines of tenants whose part of the store is away, in files of their own, so that others' need not wait behind them.
 * Each tenant's are delivered in order, once the store takes them, and again where it fails within some seconds. A
 * process that dies leaves them in its spool's folder, and its heir delivers all of a file again: the store leaves out
 * what it has. Where the bound is reached, lines that were delivered once give way to those that never were.
 *
 * The death of this process loses nothing that `add` took. It comes to the disk in passes, one after the other; the
 * loss of power costs what came since the last pass began.
 */
export class Parked<Since = null> {
  readonly #options: ParkedOptions<Since>
  /** In the order in which they are tried next; also those that are empty by now, for a while. */
  readonly #queues = new Map<string, Queue<Since>>()
  #waiting = 0
  #files = 0
  #pendingBytes = 0
  #bytesOnDisk = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false
  /** Files with lines that may not be on the disk yet, and the pass that brings others there. */
  #unsynced = new Set<string>()
  #syncing: Promise<void> | null = null

  constructor(options: ParkedOptions<Since>) {
    this.#options = options
  }

  /** What comes of this tenant has to wait, too. */
  has(tenant: string): boolean {
    return this.#queues.get(tenant)?.isEmpty === false
  }

  /** From where on the tenant's lines went to the store by themselves; null: it is not known that any waited. */
  since(tenant: string): Since | null {
    return this.#queues.get(tenant)?.since?.place ?? null
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
   * @param again lines that the store may have lost, though it had taken them: as far as there is room
   * @throws Error where the disk refuses
   */
  begin(tenant: string, again: readonly string[], error: StoreError): void {
    const queue = this.#queues.get(tenant) ?? this.#open(tenant, error)
    queue.reason = error.message
    queue.lines.rewind()
    const fitting = this.#fitting(again.toReversed())
    this.#append(queue, again.slice(again.length - fitting), false)
    if (queue.isEmpty) {
      queue.isEmpty = false
      if (this.#waiting++ === 0) this.#options.away(error)
    }
    this.#tryLater()
  }

  /**
   * Parks lines of tenants who wait, as far as there is room.
   *
   * @returns how many found room
   * @throws Error where the disk refuses: then none were added
   */
  add(byTenant: Iterable<readonly [tenant: string, lines: readonly string[]]>): number {
    let added = 0
    const before = new Map<Queue<Since>, number>()
    try {
      for (const [tenant, lines] of byTenant) {
        const queue = this.#queues.get(tenant)
        if (!queue) continue
        const fitting = this.#fitting(lines)
        before.set(queue, queue.lines.end)
        this.#append(queue, lines.slice(0, fitting), true)
        added += fitting
      }
    } catch (error) {
      for (const [{ lines }, end] of before) this.#counted(lines, () => lines.cutBack(end))
      throw error
    }
    return added
  }

  /** Tries to deliver what waits, of all or of one; resolves once it is known what came of it. */
  async flush(tenant?: string): Promise<void> {
    const queues = [...this.#queues.values()].filter((queue) => tenant === undefined || queue.tenant === tenant)
    await Promise.all(queues.map((queue) => this.#run(queue)))
  }

  /** Removes what was delivered some seconds ago. */
  tidy(): void {
    const before = performance.now() - this.#options.keepMs
    for (const [tenant, { isEmpty, since, lines }] of this.#queues) {
      if (!isEmpty || (since && since.at > before)) continue
      this.#queues.delete(tenant)
      this.#counted(lines, () => lines.drop())
    }
  }

  /** Leaves what waits to the next process; resolves when it is on the disk. Nothing may be running. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const { isEmpty, lines } of this.#queues.values()) if (isEmpty) lines.drop()
    await this.#syncing
  }

  #open(tenant: string, error: StoreError): Queue<Since> {
    const lines = new ParkedLines({
      fileBytes: Math.min(FILE_BYTES, this.#options.maxBytes / FILES_OF_ALL),
      keepMs: this.#options.keepMs,
      nextPath: () => join(this.#options.dir, `${String(++this.#files).padStart(6, '0')}.ndjson`),
    })
    const queue: Queue<Since> = { tenant, lines, isEmpty: true, running: null, reason: error.message, since: null }
    this.#queues.set(tenant, queue)
    return queue
  }

  /** For how many of the lines there is room, that of delivered ones included. */
  #fitting(lines: readonly string[]): number {
    const sizes = lines.map((line) => Buffer.byteLength(line) + 1)
    const wanted = sizes.reduce((sum, size) => sum + size, 0)
    const isShort = () => this.#bytesOnDisk + wanted > this.#options.maxBytes
    for (const { lines } of this.#queues.values()) while (isShort() && this.#counted(lines, () => lines.yieldFile()));
    let free = this.#options.maxBytes - this.#bytesOnDisk
    const first = sizes.findIndex((size) => {
      free -= size
      return free < 0
    })
    return first < 0 ? lines.length : first
  }

  #append(queue: Queue<Since>, lines: readonly string[], areNew: boolean): void {
    for (const path of this.#counted(queue.lines, () => queue.lines.append(lines, areNew))) this.#unsynced.add(path)
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = null
    })
  }

  /** All that changes a tenant's lines goes through here. */
  #counted<T>(lines: ParkedLines, change: () => T): T {
    const { pendingBytes, bytesOnDisk } = lines
    try {
      return change()
    } finally {
      this.#pendingBytes += lines.pendingBytes - pendingBytes
      this.#bytesOnDisk += lines.bytesOnDisk - bytesOnDisk
    }
  }

  async #sync(): Promise<void> {
    while (this.#unsynced.size > 0) {
      const paths = this.#unsynced
      this.#unsynced = new Set()
      // One that is gone by now was delivered; a disk that refuses shows when the next lines are written.
      for (const path of paths) await syncFile(path).catch(() => undefined)
    }
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

  #run(queue: Queue<Since>): Promise<void> {
    if (queue.isEmpty) return Promise.resolve()
    queue.running ??= this.#deliver(queue).finally(() => {
      queue.running = null
    })
    return queue.running
  }

  async #deliver(queue: Queue<Since>): Promise<void> {
    // Until it is known that the store takes them, little is read.
    let most = BATCH_BYTES / 16
    try {
      const { lines } = queue
      const next = () => this.#counted(lines, () => lines.next(most))
      for (let batch = next(); batch; batch = next()) {
        const { end } = batch
        await this.#options.deliver(batch)
        this.#counted(lines, () => lines.advance(end))
        most = BATCH_BYTES
      }
    } catch (error) {
      queue.reason = error instanceof Error ? error.message : String(error)
      queue.lines.rewind()
      return
    }
    queue.isEmpty = true
    queue.since = { place: this.#options.place(), at: performance.now() }
    if (--this.#waiting === 0) this.#options.back()
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.datasync()
  } finally {
    await file.close()
  }
}
