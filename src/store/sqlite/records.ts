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
import { inOrder, readRows } from './read-log.ts'
import { inSteps } from './steps.ts'
import type { SqliteUsage } from './usage.ts'

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
        const of = [tenant, id]
        this.#file.sql.openInteraction.run(...of, user, ts, completionId, encodeSummary(row), ...of, ...of)
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
          tenant,
          id,
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
        const of = [tenant, interaction, user, kind, ts]
        added += Number(this.#file.sql.appendReward.run(...of, rewardJson(row), ...of).changes)
      }
      return [added]
    })
  }

  findInteraction(tenant: string, id: string): Promise<InteractionSummary | null> {
    return this.#file.read(() => {
      const ended = firstOf(this.#file.sql.findInteraction, (find) => find.get(tenant, id))
      if (ended) return { ...summaryOf(readInteraction(JSON.parse(String(ended.json)))), user: String(ended.user) }
      const open = this.#file.sql.findOpenInteraction.get(tenant, id)
      return open ? decodeSummary(String(open.state)) : null
    })
  }

  findCompletions(tenant: string, completionId: string): Promise<CompletionRef[]> {
    const { findOpenCompletions, findCompletions } = this.#file.sql
    return this.#file.read(() => {
      const rows: Row[] = []
      for (const { blocks, ofBlock } of findCompletions) {
        const { first, last } = blocks.get() ?? {}
        for (let block = Number(last); block >= Number(first) && rows.length < MAX_COMPLETIONS; block--) {
          rows.push(...ofBlock.all(block, tenant, completionId, MAX_COMPLETIONS - rows.length))
        }
      }
      return [...findOpenCompletions.all(tenant, completionId, MAX_COMPLETIONS), ...rows].map(({ id, user, ts }) => ({
        ...{ interaction: String(id), user: userHash(String(user)), ts: Number(ts) },
      }))
    })
  }

  readInteractions(filter: RecordFilter): AsyncGenerator<InteractionRecord[]> {
    const [now, earlier] = this.#file.sql.readInteractions.map((reads) =>
      readRows(this.#file, reads, filter, interactionOf),
    )
    return inOrder(earlier!, now!)
  }

  readRewards(filter: RecordFilter): AsyncGenerator<RewardRecord[]> {
    const [now, earlier] = this.#file.sql.readRewards.map((reads) => readRows(this.#file, reads, filter, rewardOf))
    return inOrder(earlier!, now!)
  }

  async dropInteractions(rows: readonly InteractionRecord[]): Promise<void> {
    const { dropInteraction } = this.#file.sql
    await this.#inSlices(
      rows,
      ({ tenant, id }) => void dropInteraction.some((drop) => drop.run(tenant, id).changes > 0),
    )
  }

  async dropRewards(rows: readonly RewardRecord[]): Promise<void> {
    const { dropReward } = this.#file.sql
    await this.#inSlices(
      rows,
      ({ tenant, interaction, user, kind, ts }) =>
        void dropReward.some((drop) => drop.run(tenant, interaction, user, kind, ts).changes > 0),
    )
  }

  listErasures(of?: string): Promise<Erasure[]> {
    const { listErasures, listErasuresOf } = this.#file.sql
    return this.#file.read(() =>
      (of === undefined ? listErasures.all() : listErasuresOf.all(of)).map(({ tenant, user_hash, at }) => {
        return { tenant: String(tenant), userHash: String(user_hash), at: Number(at) }
      }),
    )
  }

  wasErased(tenant: string, user: string): Promise<boolean> {
    return this.#file.read(() => this.#file.sql.userErasure.get(tenant, userHash(user)) !== undefined)
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

function firstOf<S, T>(all: readonly S[], find: (one: S) => T | undefined): T | undefined {
  for (const one of all) {
    const found = find(one)
    if (found !== undefined) return found
  }
  return undefined
}
