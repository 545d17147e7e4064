import { type PresentNames, presentNames } from '../candidates/former-names.ts'
import { overridden } from '../candidates/overridden-store.ts'
import type { Config } from '../config/schema.ts'
import { evidenceKey } from '../routing/choose/evidence.ts'
import { lengthKey } from '../routing/choose/length-evidence.ts'
import { plus } from '../store/evidence.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import type { ScoredCandidates } from '../store/records/records.ts'
import type { Evidence, Store } from '../store/store.ts'
import type { UsageRow } from '../store/usage.ts'

/** What ends a candidate's name in the name of a sum: a voice, or whom it was compared with. */
const NAMES = /[^#\n]+/g

/** Names that candidates had before, by the configuration in force. */
function namesIn(config: () => Config): () => PresentNames {
  let of: Config | null = null
  let names: PresentNames = new Map()
  return () => {
    const current = config()
    if (of !== current) [of, names] = [current, presentNames(current.candidates)]
    return names
  }
}

/**
 * A store whose readers find candidates by their present names, whatever they were called when it was written
 * (`formerly`). What is written has the names of its time.
 *
 * @param config the one in force
 */
export function withFormerNames(store: Store, config: () => Config): Store {
  const names = namesIn(config)
  const now = (name: string) => names().get(name) ?? name
  const known = <T extends { candidate: string }>(of: T): T =>
    names().has(of.candidate) ? { ...of, candidate: now(of.candidate) } : of
  const nameNow = (name: string) => name.replace(NAMES, now)
  return overridden(store, {
    async loadEdges(tenant, user) {
      const edges = await store.loadEdges(tenant, user)
      return names().size === 0 ? edges : edges.map(known)
    },
    async loadConversation(tenant, id) {
      const state = await store.loadConversation(tenant, id)
      return state && known(state)
    },
    async saveConversation(tenant, id, state, ttlS) {
      const before = await store.saveConversation(tenant, id, state, ttlS)
      return before && known(before)
    },
    async findInteraction(tenant, id) {
      const summary = await store.findInteraction(tenant, id)
      if (!summary || names().size === 0) return summary
      const { gain } = summary
      return { ...known(summary), ...(gain && { gain: { ...gain, baseline: now(gain.baseline) } }) }
    },
    async loadEvidence(tenant, key) {
      const rows = [...(await store.loadEvidence(tenant, key))]
      if (names().size === 0) return new Map(rows)
      // What is kept by its baseline (`Gains`).
      for (const [old, name] of names()) {
        if (!key.endsWith(`:${name}`)) continue
        rows.push(...(await store.loadEvidence(tenant, key.slice(0, -name.length) + old)))
      }
      const merged: Evidence = new Map()
      const fades = key.startsWith(evidenceKey('')) || key.startsWith(lengthKey(''))
      const halfLife = fades ? config().router.shared_evidence.half_life_days : undefined
      for (const [name, sums] of rows) {
        const same = merged.get(nameNow(name))
        merged.set(nameNow(name), same?.length === sums.length ? plus(same, sums, halfLife) : sums)
      }
      return merged
    },
    async dropEvidence(tenant, key, of) {
      if (of === undefined || names().size === 0) return store.dropEvidence(tenant, key, of)
      const wanted = new Set(of)
      const all = [...(await store.loadEvidence(tenant, key)).keys()]
      return store.dropEvidence(
        tenant,
        key,
        all.filter((name) => wanted.has(nameNow(name))),
      )
    },
    async *readInteractions(filter) {
      for await (const batch of store.readInteractions(filter)) {
        yield names().size === 0 ? batch : batch.map((record) => recordNow(record, now))
      }
    },
    async *readRewards(filter) {
      for await (const batch of store.readRewards(filter)) {
        yield names().size === 0
          ? batch
          : batch.map((row) =>
              row.preferredModel === null ? row : { ...row, preferredModel: now(row.preferredModel) },
            )
      }
    },
    usage: {
      async read(tenant, filter) {
        const rows = await store.usage.read(tenant, filter)
        return names().size === 0 ? rows : summed(rows.map((row) => ({ ...row, model: now(row.model) })))
      },
    },
  })
}

function recordNow(record: InteractionRecord, now: (name: string) => string): InteractionRecord {
  const { gain, shadow } = record
  const table = (scored: ScoredCandidates) => ({ ...scored, names: scored.names.map(now) })
  return {
    ...record,
    chosen: now(record.chosen),
    // What its reader was not asked for is not there (`RecordFilter.fields`).
    attempts: record.attempts?.map((attempt) => ({ ...attempt, candidate: now(attempt.candidate) })),
    candidates: record.candidates && table(record.candidates),
    ...(gain && { gain: { ...gain, baseline: now(gain.baseline) } }),
    ...(shadow && { shadow: { ...shadow, candidates: table(shadow.candidates) } }),
  }
}

/** One row a day, owner and model. */
function summed(rows: readonly UsageRow[]): UsageRow[] {
  const sums = new Map<string, UsageRow>()
  for (const row of rows) {
    const key = `${row.day}\n${row.scope}\n${row.id}\n${row.model}`
    const sum = sums.get(key)
    sums.set(key, {
      ...row,
      requests: row.requests + (sum?.requests ?? 0),
      promptTokens: row.promptTokens + (sum?.promptTokens ?? 0),
      completionTokens: row.completionTokens + (sum?.completionTokens ?? 0),
      nanoUsd: row.nanoUsd + (sum?.nanoUsd ?? 0),
    })
  }
  return [...sums.values()]
}
