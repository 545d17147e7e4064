import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Config } from '../../config/schema.ts'
import { atEndOfTick } from '../../runtime/end-of-tick.ts'
import type { Charge } from '../limits.ts'
import type { InteractionRecord, RewardRecord } from '../records/codec.ts'
import { type CompletionRef, type InteractionSummary, type Store, StoreError } from '../store.ts'
import { KnownAnswers, MAX_FINDABLE } from './known-answers.ts'
import { Parked } from './parked.ts'
import { lineOf, type Row, readRow } from './row.ts'
import type { Lines } from './segment.ts'
import { type Sent, sendOrPark } from './send-or-park.ts'
import { Sender } from './sender.ts'
import { KEEP_MS, Spool, type SpoolPlace } from './spool.ts'

/** Of one batch: SQLite blocks the process meanwhile, some 30 us a row, and requests get their turn between two. */
const BATCH_ROWS = 64
const BATCH_BYTES = 128 * 1024
/** Undelivered rows that are kept in memory; beyond, they are read back from the spool. */
const MAX_IN_MEMORY = 4_096
const ADOPT_MS = 15_000
const RETRY = { firstMs: 100, maxMs: 2_000 }
/** What waits for one tenant's part of the store leaves room for the others, whose records are soon gone. */
const PARKED_SHARE = 7 / 8

type Entry = Row & { bytes: number }

export interface RecorderStatus {
  /** Records that the store does not have yet, as far as this process made them. */
  queued: number
  /** Bytes on disk that the store does not have yet, those that an earlier process left included. */
  spooledBytes: number
  /** Records lost because the store was away and the spool full, since the start. */
  dropped: number
  /** Records that the store refuses for good; they are kept in `rejected.ndjson` in the spool. */
  rejected: number
  /** Lines of the spool that could not be read. */
  unreadable: number
  delivered: number
  /** Why the store did not take the last batch; null = it did. */
  away: string | null
}

/** For the log. None of them gets the contents of a record. */
export interface RecorderEvents {
  /** The store stopped taking records; they stay in the spool. */
  away?(error: StoreError): void
  /** The store takes records again. */
  back?(): void
  /** A record was lost: the store is away and the spool full. */
  dropped?(total: number): void
  /** A record that the store will never take. */
  rejected?(error: unknown): void
}

/**
 * Takes records off the request path. They are written to the spool first: `interaction` resolves, and `reward`
 * returns, when the kernel has it, or the spool has no room for it. The death of this process loses no record of which
 * they said so, and what it had not delivered is delivered by the next one on the same directory. Batches reach the
 * store within `flush_ms`, in order; the store leaves out what it has. After a failure the last seconds' records are
 * delivered once more. While the store is away the spool is also synced to the disk once a batch; the loss of power may
 * cost the last `flush_ms` (and what the store itself had not synced). Where a tenant's part of the store is away by
 * itself, that tenant's records alone wait (`Parked`).
 */
export class Recorder {
  readonly #store: Store
  readonly #sender: Sender
  readonly #spool: Spool
  /** Rows of tenants whose part of the store is away by itself. */
  readonly #parked: Parked<SpoolPlace>
  readonly #flushMs: number
  readonly #events: RecorderEvents
  readonly #adoption: NodeJS.Timeout
  /** What the spool gets at the end of this turn, and who waits for that. */
  #fresh: Row[] = []
  #written: PromiseWithResolvers<void> | null = null
  /** Undelivered rows in order, while all of them fit; otherwise the spool alone has them (`#onDisk`). */
  #rows: Entry[] = []
  #onDisk = false
  #lastAdopted = Number.NEGATIVE_INFINITY
  readonly #answers = new KnownAnswers()
  /** Summaries to be told to the store, each once. */
  #newlyOpen: InteractionSummary[] = []
  readonly #announcing = new WeakSet<InteractionSummary>()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #retryMs = RETRY.firstMs
  #closed = false
  readonly #counts = { queued: 0, dropped: 0, rejected: 0, unreadable: 0, delivered: 0 }
  #away: string | null = null

  /** @throws Error when the spool's directory can't be written */
  constructor(store: Store, spool: Config['spool'], events: RecorderEvents = {}) {
    this.#store = store
    this.#sender = new Sender(store, (row, error) => this.#reject(row, error))
    const parkedBytes = (): number => this.#parked.pendingBytes
    this.#spool = new Spool({ path: spool.path, maxBytes: spool.max_bytes }, parkedBytes)
    this.#parked = new Parked({
      dir: join(this.#spool.home, 'parked'),
      maxBytes: spool.max_bytes * PARKED_SHARE,
      keepMs: KEEP_MS,
      deliver: (lines) => this.#deliverParked(lines),
      place: () => this.#spool.place,
      away: (error) => this.#events.away?.(error),
      back: () => this.#events.back?.(),
    })
    this.#flushMs = spool.flush_ms
    this.#events = events
    this.#adoption = setInterval(() => {
      this.#spool.tidy()
      this.#parked.tidy()
      this.#schedule(0)
    }, ADOPT_MS).unref()
    this.#schedule(0)
  }

  /** An answer is on its way: feedback finds it in this process immediately, in other replicas after `flush_ms`. */
  open(summary: InteractionSummary): void {
    this.#answers.open(summary)
    this.#announce(summary)
  }

  /** The provider has told the id of an answer that is on its way: feedback may name it from now on. */
  nameCompletion(tenant: string, id: string, completionId: string): void {
    const named = this.#answers.nameCompletion(tenant, id, completionId)
    if (named) this.#announce(named)
  }

  #announce(summary: InteractionSummary): void {
    if (this.#announcing.has(summary)) return
    this.#announcing.add(summary)
    this.#newlyOpen.push(summary)
    if (this.#newlyOpen.length > MAX_FINDABLE) this.#newlyOpen.splice(0, BATCH_ROWS)
    this.#schedule(this.#flushMs)
  }

  /**
   * An answer has ended. Don't change the record afterwards. Those of one turn of the event loop are written together,
   * at its end.
   */
  interaction(record: InteractionRecord): Promise<void> {
    this.#answers.end(record)
    this.#fresh.push({ type: 'interaction', record })
    if (!this.#written) {
      this.#written = Promise.withResolvers()
      atEndOfTick(this.#writeFresh)
    }
    return this.#written.promise
  }

  reward(record: RewardRecord): void {
    this.#fresh.push({ type: 'reward', record })
    this.#writeFresh()
  }

  /** What a request came to, which the store could not be told. */
  charge(record: Charge): void {
    this.#fresh.push({ type: 'charge', record })
    this.#writeFresh()
  }

  /**
   * As `Store.findInteraction`, and also what the store does not have yet.
   *
   * @throws StoreError when it is not here and the store is away
   */
  async findInteraction(tenant: string, id: string): Promise<InteractionSummary | null> {
    return this.#answers.find(tenant, id) ?? this.#store.findInteraction(tenant, id)
  }

  /**
   * As `Store.findCompletions`, and also what the store does not have yet.
   *
   * @throws StoreError when the store is away, unless there is one here
   */
  async findCompletions(tenant: string, completionId: string): Promise<CompletionRef[]> {
    const here = this.#answers.findCompletions(tenant, completionId)
    let stored: CompletionRef[]
    try {
      stored = await this.#store.findCompletions(tenant, completionId)
    } catch (error) {
      if (here.length === 0) throw error
      stored = []
    }
    const others = stored.filter(({ interaction }) => here.every((one) => one.interaction !== interaction))
    return [...here, ...others]
  }

  /** An erased user's answers are no longer found here. Records of theirs that still wait are left out by the store. */
  forget(tenant: string, user: string): void {
    this.#answers.forget(tenant, user)
  }

  /**
   * Delivers what waits. False = the store is away, or somebody's part of it: the rest stays in the spool.
   *
   * @param tenant nobody else's part is waited for
   */
  async flush(tenant?: string): Promise<boolean> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#writeFresh()
    await this.#running
    await this.#run()
    await this.#parked.flush(tenant)
    return this.#away === null && (tenant === undefined ? this.#parked.reason === null : !this.#parked.has(tenant))
  }

  /** Delivers what waits, and leaves the rest to the next process. Takes no more records. */
  async close(): Promise<void> {
    if (this.#closed) return
    clearInterval(this.#adoption)
    await this.flush()
    // What came while that ended is the next process's.
    this.#writeFresh()
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#running
    await this.#spool.sync()
    await this.#parked.close()
    this.#spool.close()
  }

  status(): RecorderStatus {
    const spooledBytes = this.#spool.pendingBytes + this.#parked.pendingBytes
    return { ...this.#counts, spooledBytes, away: this.#away ?? this.#parked.reason }
  }

  readonly #writeFresh = () => {
    const [fresh, written] = [this.#fresh, this.#written]
    this.#fresh = []
    this.#written = null
    try {
      const sizes = this.#closed ? [] : this.#spool.append(fresh.map((row) => `${lineOf(row)}\n`))
      for (const [i, row] of fresh.entries()) this.#take(row, sizes[i] ?? 0)
    } finally {
      // Answers wait for it.
      written?.resolve()
    }
  }

  /** @param bytes of it in the spool; 0 = it had no room */
  #take(row: Row, bytes: number): void {
    if (bytes === 0 && (this.#onDisk || this.#closed)) {
      this.#drop(1)
      return
    }
    this.#counts.queued++
    if (!this.#onDisk) {
      this.#rows.push({ ...row, bytes })
      if (this.#rows.length > MAX_IN_MEMORY) this.#leaveToDisk()
    }
    this.#schedule(this.#away === null ? this.#flushMs : this.#retryMs)
  }

  /** From here on undelivered rows are read back from the spool. Those that it had no room for are lost. */
  #leaveToDisk(): void {
    this.#onDisk = true
    const lost = this.#rows.filter(({ bytes }) => bytes === 0).length
    this.#rows = []
    this.#counts.queued -= lost
    if (lost > 0) this.#drop(lost)
  }

  #drop(rows: number): void {
    this.#counts.dropped += rows
    this.#events.dropped?.(this.#counts.dropped)
  }

  #schedule(ms: number): void {
    if (this.#timer || this.#running || this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      void this.#run()
    }, ms)
    // Records are safe in the spool: no need to keep a process alive for them.
    this.#timer.unref()
  }

  #run(): Promise<void> {
    this.#running ??= this.#deliverAll().finally(() => {
      this.#running = undefined
      if (this.#away !== null) this.#schedule(this.#retryMs)
      else if (this.#rows.length > 0 || this.#newlyOpen.length > 0 || this.#spool.pendingBytes > 0)
        this.#schedule(this.#flushMs)
    })
    return this.#running
  }

  async #deliverAll(): Promise<void> {
    try {
      this.#adoptOrphans()
      await this.#announceOpen()
      while (await this.#deliverBatch()) await nextTurn()
      this.#isBack()
    } catch (error) {
      await this.#isAway(error instanceof StoreError ? error : new StoreError('Cannot record', { cause: error }))
    }
  }

  #adoptOrphans(): void {
    const now = performance.now()
    if (now - this.#lastAdopted < ADOPT_MS - this.#flushMs) return
    this.#lastAdopted = now
    if (this.#spool.adopt()) this.#leaveToDisk()
  }

  async #announceOpen(): Promise<void> {
    const still = this.#newlyOpen.filter((summary) => this.#answers.isOpen(summary))
    for (const summary of this.#newlyOpen) this.#announcing.delete(summary)
    this.#newlyOpen = []
    if (still.length === 0) return
    if (!this.#store.isDivided) return this.#store.openInteractions(still)
    // A part that hangs must not hold up the others' records, and what can't be told here is told when it ends.
    for (const [tenant, rows] of Map.groupBy(still, (row) => row.tenant)) {
      if (!this.#parked.has(tenant)) void this.#store.openInteractions(rows).catch(() => undefined)
    }
  }

  /** False = nothing waits. */
  async #deliverBatch(): Promise<boolean> {
    if (this.#onDisk) {
      const batch = this.#spool.peek(BATCH_BYTES)
      if (!batch) {
        this.#onDisk = false
        return false
      }
      const { taken, waiting, lost } = await this.#send(this.#parse(batch.lines))
      this.#spool.advance(batch.bytes)
      this.#isBack()
      this.#counts.queued += waiting - (batch.kind === 'own' ? batch.lines.length : 0)
      if (batch.kind === 'again') return true
      this.#delivered(taken)
      if (lost > 0) this.#drop(lost)
      return true
    }
    const rows = this.#rows.slice(0, BATCH_ROWS)
    if (rows.length === 0) return false
    const { taken, waiting, lost } = await this.#send(rows)
    if (!this.#onDisk) this.#rows = this.#rows.slice(rows.length)
    this.#spool.advance(rows.reduce((sum, { bytes }) => sum + bytes, 0))
    this.#isBack()
    this.#counts.queued += waiting - rows.length
    this.#delivered(taken)
    if (lost > 0) this.#drop(lost)
    return true
  }

  /** @throws StoreError when the store is away, all of it */
  async #send(rows: readonly Row[]): Promise<Sent> {
    if (this.#store.isDivided)
      return sendOrPark({ sender: this.#sender, spool: this.#spool, parked: this.#parked }, rows)
    await this.#sender.send(rows)
    return { taken: [...rows], waiting: 0, lost: 0 }
  }

  async #deliverParked({ lines, isAgain }: Lines): Promise<void> {
    const rows = this.#parse(lines)
    await this.#sender.send(rows)
    if (isAgain) return
    this.#counts.queued -= lines.length
    this.#delivered(rows)
  }

  #reject(row: Row, error: unknown): void {
    this.#spool.reject(lineOf(row))
    this.#counts.rejected++
    this.#events.rejected?.(error)
  }

  #delivered(rows: readonly Row[]): void {
    this.#counts.delivered += rows.length
    for (const { type, record } of rows) if (type === 'interaction') this.#answers.leaveToStore(record)
  }

  #parse(lines: readonly string[]): Row[] {
    const rows = lines.map(readRow).filter((row) => row !== null)
    this.#counts.unreadable += lines.length - rows.length
    return rows
  }

  #isBack(): void {
    this.#retryMs = RETRY.firstMs
    if (this.#away === null) return
    this.#away = null
    this.#events.back?.()
  }

  async #isAway(error: StoreError): Promise<void> {
    const first = this.#away === null
    this.#away = error.message
    if (!first) this.#retryMs = Math.min(RETRY.maxMs, this.#retryMs * 2)
    if (first) {
      // What it acknowledged last may be gone with it; it leaves out what is not.
      if (this.#spool.rewind()) this.#leaveToDisk()
      this.#events.away?.(error)
    }
    await this.#spool.sync()
  }
}
