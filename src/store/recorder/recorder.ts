import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Config } from '../../config/schema.ts'
import { atEndOfTick } from '../../runtime/end-of-tick.ts'
import { EphemeralMap } from '../../runtime/ephemeral-map.ts'
import { inTime } from '../../runtime/in-time.ts'
import { userHash, userKey } from '../../runtime/keys.ts'
import type { Charge } from '../limits.ts'
import type { InteractionRecord, RewardRecord } from '../records/codec.ts'
import { interactionLine, readInteraction, readReward, rewardLine } from '../records/codec.ts'
import { summaryOf } from '../records/summary.ts'
import { type CompletionRef, type InteractionSummary, MAX_COMPLETIONS, type Store, StoreError } from '../store.ts'
import { chargeLine, readCharge } from './charge-line.ts'
import { Parked } from './parked.ts'
import type { Lines } from './segment.ts'
import { KEEP_MS, Spool } from './spool.ts'

/** Of one batch: SQLite blocks the process meanwhile, some 30 us a row, and requests get their turn between two. */
const BATCH_ROWS = 64
const BATCH_BYTES = 128 * 1024
/** Undelivered rows that are kept in memory; beyond, they are read back from the spool. */
const MAX_IN_MEMORY = 4_096
/** Answers that feedback finds here before the store has them. */
const MAX_FINDABLE = 5_000
const ADOPT_MS = 15_000
const RETRY = { firstMs: 100, maxMs: 2_000 }
/** So long a tenant's part of the store holds up the others. */
const PATIENCE_MS = 500

type Row =
  | { type: 'interaction'; record: InteractionRecord }
  | { type: 'reward'; record: RewardRecord }
  | { type: 'charge'; record: Charge }
type Entry = Row & { bytes: number }

interface Completion {
  interaction: string
  tenant: string
  user: string
  ts: number
}

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
  readonly #spool: Spool
  /** Rows of tenants whose part of the store is away by itself. */
  readonly #parked: Parked
  readonly #flushMs: number
  readonly #events: RecorderEvents
  readonly #adoption: NodeJS.Timeout
  /** What the spool gets at the end of this turn, and who waits for that. */
  #fresh: { row: Row; line: string }[] = []
  #written: PromiseWithResolvers<void> | null = null
  /** Undelivered rows in order, while all of them fit; otherwise the spool alone has them (`#onDisk`). */
  #rows: Entry[] = []
  #onDisk = false
  #lastAdopted = Number.NEGATIVE_INFINITY
  readonly #findable = new EphemeralMap<InteractionRecord>(MAX_FINDABLE)
  readonly #open = new EphemeralMap<InteractionSummary>(MAX_FINDABLE)
  /** Answers by their completion ids: also of those that the store has by now. */
  readonly #completions = new EphemeralMap<Completion[]>(MAX_FINDABLE)
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
    const parkedBytes = (): number => this.#parked.pendingBytes
    this.#spool = new Spool({ path: spool.path, maxBytes: spool.max_bytes }, parkedBytes)
    this.#parked = new Parked({
      dir: join(this.#spool.home, 'parked'),
      // What one tenant waits for leaves room for the others.
      maxBytes: spool.max_bytes / 2,
      keepMs: KEEP_MS,
      deliver: (lines) => this.#deliverParked(lines),
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
    this.#open.set(userKey(summary.tenant, summary.id), summary)
    if (summary.completionId) this.#addCompletion(summary, summary.completionId)
    this.#announce(summary)
  }

  /** The provider has told the id of an answer that is on its way: feedback may name it from now on. */
  nameCompletion(tenant: string, id: string, completionId: string): void {
    const summary = this.#open.get(userKey(tenant, id))
    // The client's own name for it stays.
    if (!summary || summary.completionId) return
    summary.completionId = completionId
    this.#addCompletion(summary, completionId)
    this.#announce(summary)
  }

  #announce(summary: InteractionSummary): void {
    if (this.#announcing.has(summary)) return
    this.#announcing.add(summary)
    this.#newlyOpen.push(summary)
    if (this.#newlyOpen.length > MAX_FINDABLE) this.#newlyOpen.splice(0, BATCH_ROWS)
    this.#schedule(this.#flushMs)
  }

  #addCompletion({ tenant, id, user, ts }: Pick<InteractionSummary, 'tenant' | 'id' | 'user' | 'ts'>, name: string) {
    const key = userKey(tenant, name)
    const known = this.#completions.get(key)
    if (known?.some(({ interaction }) => interaction === id)) return
    const one = { interaction: id, tenant, user, ts }
    this.#completions.set(key, known ? [one, ...known].slice(0, MAX_COMPLETIONS) : [one])
  }

  /**
   * An answer has ended. Don't change the record afterwards. Those of one turn of the event loop are written together,
   * at its end.
   */
  interaction(record: InteractionRecord): Promise<void> {
    const { tenant, id, completionId } = record
    const key = userKey(tenant, id)
    this.#open.delete(key)
    this.#findable.set(key, record)
    if (completionId !== null) this.#addCompletion(record, completionId)
    this.#fresh.push({ row: { type: 'interaction', record }, line: `${interactionLine(record)}\n` })
    if (!this.#written) {
      this.#written = Promise.withResolvers()
      atEndOfTick(this.#writeFresh)
    }
    return this.#written.promise
  }

  reward(record: RewardRecord): void {
    this.#fresh.push({ row: { type: 'reward', record }, line: `${rewardLine(record)}\n` })
    this.#writeFresh()
  }

  /** What a request came to, which the store could not be told. */
  charge(record: Charge): void {
    this.#fresh.push({ row: { type: 'charge', record }, line: `${chargeLine(record)}\n` })
    this.#writeFresh()
  }

  /**
   * As `Store.findInteraction`, and also what the store does not have yet.
   *
   * @throws StoreError when it is not here and the store is away
   */
  async findInteraction(tenant: string, id: string): Promise<InteractionSummary | null> {
    const key = userKey(tenant, id)
    const ended = this.#findable.get(key)
    if (ended) return summaryOf(ended)
    return this.#open.get(key) ?? this.#store.findInteraction(tenant, id)
  }

  /**
   * As `Store.findCompletions`, and also what the store does not have yet.
   *
   * @throws StoreError when the store is away, unless there is one here
   */
  async findCompletions(tenant: string, completionId: string): Promise<CompletionRef[]> {
    const here = (this.#completions.get(userKey(tenant, completionId)) ?? []).map(({ interaction, user, ts }) => {
      return { interaction, user: userHash(user), ts }
    })
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
    const isTheirs = (one: { tenant: string; user: string }) => one.tenant === tenant && one.user === user
    for (const map of [this.#findable, this.#open]) {
      for (const [key, one] of map) if (isTheirs(one)) map.delete(key)
    }
    for (const [key, [first, ...more]] of this.#completions) {
      if (first && [first, ...more].some(isTheirs)) {
        this.#completions.set(
          key,
          [first, ...more].filter((one) => !isTheirs(one)),
        )
      }
    }
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
    this.#parked.close()
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
      const sizes = this.#closed ? [] : this.#spool.append(fresh.map(({ line }) => line))
      for (const [i, { row }] of fresh.entries()) this.#take(row, sizes[i] ?? 0)
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
    const still = this.#newlyOpen.filter(({ tenant, id }) => this.#open.has(userKey(tenant, id)))
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
      const rows = batch.lines.flatMap((line) => this.#parse(line))
      const { taken, waiting } = await this.#sendOrPark(rows)
      this.#spool.advance(batch.bytes)
      this.#isBack()
      this.#counts.queued += waiting - (batch.kind === 'own' ? batch.lines.length : 0)
      if (batch.kind !== 'again') this.#delivered(taken)
      return true
    }
    const rows = this.#rows.slice(0, BATCH_ROWS)
    if (rows.length === 0) return false
    const { taken, waiting } = await this.#sendOrPark(rows)
    if (!this.#onDisk) this.#rows = this.#rows.slice(rows.length)
    this.#spool.advance(rows.reduce((sum, { bytes }) => sum + bytes, 0))
    this.#isBack()
    this.#counts.queued += waiting - rows.length
    this.#delivered(taken)
    return true
  }

  /**
   * Where a tenant's part of the store is away by itself, their rows are put aside, and they go on waiting.
   *
   * @returns what the store has taken, and how many wait
   * @throws StoreError where nobody's get on
   */
  async #sendOrPark(rows: Row[]): Promise<{ taken: Row[]; waiting: number }> {
    if (!this.#store.isDivided) {
      await this.#send(rows)
      return { taken: rows, waiting: 0 }
    }
    const failures = new Map<string, StoreError>()
    const byTenant = Map.groupBy(rows, ({ record }) => record.tenant)
    const sent = new Set<string>()
    await Promise.all(
      [...byTenant].map(async ([tenant, theirs]) => {
        if (this.#parked.has(tenant)) return
        const failure = await inTime(failureOf(this.#send(theirs)), PATIENCE_MS, () => new StoreError('no answer yet'))
        if (failure) failures.set(tenant, failure)
        else sent.add(tenant)
      }),
    )
    const taken: Row[] = []
    const returned: Row[] = []
    let waiting = 0
    try {
      await this.#park(failures)
      for (const [tenant, theirs] of byTenant) {
        if (sent.has(tenant) || !this.#parked.has(tenant)) {
          // Who waited before the others were sent may wait no more.
          ;(sent.has(tenant) ? taken : returned).push(...theirs)
          continue
        }
        const fit = this.#parked.add(tenant, theirs.map(lineOf))
        waiting += fit
        if (fit < theirs.length) this.#drop(theirs.length - fit)
      }
    } catch (error) {
      throw new StoreError('The store is away, and the disk refuses', { cause: error })
    }
    if (returned.length === 0) return { taken, waiting }
    const rest = await this.#sendOrPark(returned)
    return { taken: [...taken, ...rest.taken], waiting: waiting + rest.waiting }
  }

  /** From now on these wait; what the store took of them in the last seconds may be lost with it. */
  async #park(failures: ReadonlyMap<string, StoreError>): Promise<void> {
    if (failures.size === 0) return
    const again = new Map<string, string[]>([...failures.keys()].map((tenant) => [tenant, []]))
    const names = [...failures.keys()].map((tenant) => `"tenant":${JSON.stringify(tenant)}`)
    for (const lines of this.#spool.delivered(BATCH_BYTES)) {
      for (const line of lines) {
        if (names.some((name) => line.includes(name))) again.get(tenantIn(line))?.push(line)
      }
      await nextTurn()
    }
    for (const [tenant, error] of failures) this.#parked.begin(tenant, again.get(tenant) ?? [], error)
  }

  async #deliverParked({ lines, isAgain }: Lines): Promise<void> {
    const rows = lines.flatMap((line) => this.#parse(line))
    await this.#send(rows)
    if (isAgain) return
    this.#counts.queued -= lines.length
    this.#delivered(rows)
  }

  async #send(rows: Row[]): Promise<void> {
    try {
      await append(this.#store, rows)
    } catch (error) {
      if (error instanceof StoreError) throw error
      for (const row of rows) await this.#sendAlone(row)
    }
  }

  /** One bad row must not hold up the others for ever. */
  async #sendAlone(row: Row): Promise<void> {
    try {
      await append(this.#store, [row])
    } catch (error) {
      if (error instanceof StoreError) throw error
      this.#spool.reject(lineOf(row))
      this.#counts.rejected++
      this.#events.rejected?.(error)
    }
  }

  #delivered(rows: readonly Row[]): void {
    this.#counts.delivered += rows.length
    for (const { type, record } of rows) {
      if (type !== 'interaction') continue
      this.#findable.delete(userKey(record.tenant, record.id))
    }
  }

  #parse(line: string): Row[] {
    try {
      const { type, ...document } = JSON.parse(line)
      if (type === 'interaction') return [{ type, record: readInteraction(document) }]
      if (type === 'reward') return [{ type, record: readReward(document) }]
      if (type === 'charge') return [{ type, record: readCharge(document) }]
    } catch {
      // Counted below.
    }
    this.#counts.unreadable++
    return []
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

function lineOf({ type, record }: Row): string {
  if (type === 'charge') return chargeLine(record)
  return type === 'interaction' ? interactionLine(record) : rewardLine(record)
}

/** '' where it can't be read. */
function tenantIn(line: string): string {
  try {
    return String(JSON.parse(line).tenant)
  } catch {
    return ''
  }
}

/** @throws what is no fault of the store's */
async function failureOf(work: Promise<void>): Promise<StoreError | null> {
  try {
    await work
    return null
  } catch (error) {
    if (error instanceof StoreError) return error
    throw error
  }
}

async function append(store: Store, rows: Row[]): Promise<void> {
  const interactions = rows.flatMap((row) => (row.type === 'interaction' ? [row.record] : []))
  const rewards = rows.flatMap((row) => (row.type === 'reward' ? [row.record] : []))
  if (interactions.length > 0) await store.appendInteractions(interactions)
  if (rewards.length > 0) await store.appendRewards(rewards)
  await Promise.all(rows.map((row) => row.type === 'charge' && store.limits.charge(row.record)))
}
