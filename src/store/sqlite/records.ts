import { setImmediate as nextTurn } from 'node:timers/promises'
import { userHash } from '../../runtime/keys.ts'
import {
  type InteractionRecord,
  interactionJsonWithoutText,
  type RewardRecord,
  readInteraction,
  readReward,
  rewardJson,
} from '../records/codec.ts'
import { summaryOf } from '../records/summary.ts'
import {
  type CompletionRef,
  type Erasure,
  type InteractionSummary,
  MAX_COMPLETIONS,
  type RecordFilter,
} from '../store.ts'
import { decodeSummary, encodeSummary } from '../stored-values.ts'
import { erasedBefore } from './erasures.ts'
import type { Row, SqliteFile } from './file.ts'
import { inSteps } from './steps.ts'
import type { SqliteUsage } from './usage.ts'

/** Rows read at once: the process does nothing else meanwhile. */
const BATCH = 16

/** The log: interactions and rewards. */
export class SqliteRecords {
  readonly #file: SqliteFile
  readonly #usage: SqliteUsage

  constructor(file: SqliteFile, usage: SqliteUsage) {
    this.#file = file
    this.#usage = usage
  }

  openInteractions(rows: InteractionSummary[]): Promise<void> {
    return this.#file.write(() => {
      const erased = erasedBefore(this.#file)
      for (const row of rows) {
        if (erased(row)) continue
        const { tenant, id, user, ts, completionId = null } = row
        this.#file.sql.openInteraction.run(tenant, id, user, ts, completionId, encodeSummary(row), tenant, id)
      }
      return [undefined]
    })
  }

  /** Returns how many are new. @param isCounted what they used counts from now on */
  appendInteractions(rows: InteractionRecord[], isCounted = true): Promise<number> {
    return this.#file.write(() => {
      const erased = erasedBefore(this.#file)
      const added: InteractionRecord[] = []
      for (const row of rows) {
        const { tenant, id, ts, user, completionId, text } = row
        this.#file.sql.closeInteraction.run(tenant, id)
        if (erased(row)) continue
        const json = interactionJsonWithoutText(row)
        const expires = row.textExpiresAt ?? null
        const { changes } = this.#file.sql.appendInteraction.run(
          tenant,
          id,
          ts,
          user,
          completionId,
          json,
          text,
          expires,
        )
        if (changes === 1) added.push(row)
      }
      if (isCounted) this.#usage.add(added)
      return [added.length]
    })
  }

  /** Returns how many are new. */
  appendRewards(rows: RewardRecord[]): Promise<number> {
    return this.#file.write(() => {
      const erased = erasedBefore(this.#file)
      let added = 0
      for (const row of rows) {
        if (erased({ ...row, ts: row.askedAt ?? row.ts })) continue
        const { tenant, interaction, user, kind, ts } = row
        added += Number(this.#file.sql.appendReward.run(tenant, interaction, user, kind, ts, rewardJson(row)).changes)
      }
      return [added]
    })
  }

  findInteraction(tenant: string, id: string): Promise<InteractionSummary | null> {
    return this.#file.read(() => {
      const ended = this.#file.sql.findInteraction.get(tenant, id)
      if (ended) return { ...summaryOf(readInteraction(JSON.parse(String(ended.json)))), user: String(ended.user) }
      const open = this.#file.sql.findOpenInteraction.get(tenant, id)
      return open ? decodeSummary(String(open.state)) : null
    })
  }

  findCompletions(tenant: string, completionId: string): Promise<CompletionRef[]> {
    const { findOpenCompletions, findCompletions } = this.#file.sql
    return this.#file.read(() =>
      [findOpenCompletions, findCompletions]
        .flatMap((statement) => statement.all(tenant, completionId, MAX_COMPLETIONS))
        .map(({ id, user, ts }) => ({ interaction: String(id), user: userHash(String(user)), ts: Number(ts) })),
    )
  }

  readInteractions(filter: RecordFilter): AsyncGenerator<InteractionRecord[]> {
    const { readInteractions, readInteractionsOf } = this.#file.sql
    return this.#read(readInteractions, readInteractionsOf, filter, interactionOf)
  }

  readRewards(filter: RecordFilter): AsyncGenerator<RewardRecord[]> {
    const { readRewards, readRewardsOf } = this.#file.sql
    return this.#read(readRewards, readRewardsOf, filter, rewardOf)
  }

  async dropInteractions(rows: readonly InteractionRecord[]): Promise<void> {
    await this.#inSlices(rows, ({ tenant, id }) => void this.#file.sql.dropInteraction.run(tenant, id))
  }

  async dropRewards(rows: readonly RewardRecord[]): Promise<void> {
    const { dropReward } = this.#file.sql
    await this.#inSlices(
      rows,
      ({ tenant, interaction, user, kind, ts }) => void dropReward.run(tenant, interaction, user, kind, ts),
    )
  }

  listErasures(): Promise<Erasure[]> {
    return this.#file.read(() =>
      this.#file.sql.listErasures
        .all()
        .map(({ tenant, user_hash, at }) => ({ tenant: String(tenant), userHash: String(user_hash), at: Number(at) })),
    )
  }

  async #inSlices<T>(rows: readonly T[], work: (row: T) => void): Promise<void> {
    const drop = (most: number, before: number) => {
      const some = rows.slice(before, before + most)
      some.forEach(work)
      return some.length
    }
    // An operator's work, mostly in a process of its own: it is in the way of writes alone.
    await inSteps(this.#file, drop, { perWork: 1 })
  }

  async *#read<T extends { tenant: string }>(
    everybody: { all: (...values: (string | number | null)[]) => Row[] },
    ofUser: typeof everybody,
    { tenant, user, since, until }: RecordFilter,
    decode: (row: Row) => T,
  ): AsyncGenerator<T[]> {
    let [ts, seq] = [since ?? 0, -1]
    for (;;) {
      const place = [ts, ts, seq, until ?? Number.MAX_SAFE_INTEGER, BATCH]
      const rows = await this.#file.read(() =>
        tenant !== undefined && user !== undefined ? ofUser.all(tenant, user, ...place) : everybody.all(...place),
      )
      const last = rows.at(-1)
      if (!last) return
      ;[ts, seq] = [Number(last.ts), Number(last.seq)]
      const wanted = tenant === undefined ? rows : rows.filter((row) => row.tenant === tenant)
      if (wanted.length > 0) yield wanted.map(decode)
      await nextTurn()
    }
  }
}

// A user who got another id (`moveUser`) has the former one in the documents: the column counts.
export function interactionOf({ json, user, text, text_expires_at }: Row): InteractionRecord {
  const expired = text_expires_at !== null && Number(text_expires_at) <= Date.now()
  return {
    ...readInteraction(JSON.parse(String(json)), expired ? null : (text as string | null)),
    user: String(user),
  }
}

export const rewardOf = ({ json, user }: Row): RewardRecord => ({
  ...readReward(JSON.parse(String(json))),
  user: String(user),
})
