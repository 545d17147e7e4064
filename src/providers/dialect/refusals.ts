import type { Candidate } from '../../candidates/candidate.ts'
import { hearingOf } from '../../routing/choose/evidence.ts'
import type { RefusalFilter, StoredRefusal } from '../../store/store.ts'
import { deploymentOf } from '../forward/breakers.ts'
import { Learned, type Refused } from './learned.ts'

/** Providers change what they take now and then: after so long it is tried again. */
const REMEMBERED_MS = 24 * 3_600_000
/** Deployments and fields a tenant; what clients make up does not fill memory. */
const MAX_A_TENANT = 512
const MAX_CHARS = 80
/** Asked of the store again after this, should a change not have been heard. */
const RELOAD_MS = 300_000

export interface RefusalStore {
  noteRefusals(tenant: string, rows: readonly StoredRefusal[]): Promise<void>
  listRefusals(tenant: string): Promise<StoredRefusal[]>
  forgetRefusals(tenant: string, of: RefusalFilter): Promise<number>
}

/** Fewer of them of one voice, so that the others' have room. */
const MAX_A_VOICE = 64
/** So many (`hearingOf`) must have met a refusal before it counts for others. */
const QUORUM = 2

interface OfTenant {
  rows: Map<string, StoredRefusal>
  /** Of these the store has not said yet that it has them. */
  own: Set<string>
  byDeployment: Map<string, OfDeployment>
  loadedAt: number
}

interface OfDeployment {
  forAll: Learned | undefined
  /** With what each voice has met itself. */
  byVoice: Map<string, Learned>
}

/**
 * A refusal that is kept names the voice whose request it was, before the rest: a replica of an earlier release, which
 * knows of no voices, then takes it for no limit (`tokens>=`) and no field of its own.
 */
const BY_VOICE = /^by ([uk]\d{1,2}): /
const withVoice = (field: Refused, voice: string | undefined) => (voice === undefined ? field : `by ${voice}: ${field}`)
/** What was refused; and of whom, null: of all, as earlier releases kept it. */
const splitVoice = (field: string): { refused: Refused; voice: string | null } => ({
  refused: field.replace(BY_VOICE, ''),
  voice: BY_VOICE.exec(field)?.[1] ?? null,
})

/** A refusal as an operator sees it. */
export interface ShownRefusal extends StoredRefusal {
  /** Others of the tenant are spared it, too; else only who met it. */
  counts: boolean
  /** Who met it; none of a refusal that an earlier release kept. */
  voices: string[]
}

/**
 * What deployments have refused of a tenant's requests, so that the next one is spared it. Kept by tenant and voice
 * (`voiceOf`): what one person's requests have met spares that person's, and others' once several have met it, since a
 * request can be made so that what is refused is not what its provider names. Read without waiting; the store's copy
 * comes when it comes.
 */
export class Refusals {
  readonly #store: RefusalStore
  readonly #tenants = new Map<string, OfTenant>()

  constructor(store: RefusalStore) {
    this.#store = store
  }

  /** @param voice whose request it is */
  of(tenant: string, candidate: Candidate, voice?: string): Learned | undefined {
    const known = this.#of(tenant)
    if (performance.now() - known.loadedAt > RELOAD_MS) this.reload(tenant)
    if (known.byDeployment.size === 0) return undefined
    const of = known.byDeployment.get(deploymentOf(candidate))
    return of?.byVoice.get(voice ?? '') ?? of?.forAll
  }

  /** Called once the same request has been answered otherwise: then it was the candidate, not the request. */
  note(tenant: string, candidate: Candidate, refused: readonly Refused[], voice?: string): void {
    const known = this.#of(tenant)
    const deployment = deploymentOf(candidate)
    const expiresAt = Date.now() + REMEMBERED_MS
    const theirs = [...known.rows.values()].filter(({ field }) => splitVoice(field).voice === (voice ?? null)).length
    const room = Math.min(MAX_A_TENANT - known.rows.size, voice === undefined ? MAX_A_TENANT : MAX_A_VOICE - theirs)
    const rows = refused
      .filter((field) => field.length <= MAX_CHARS)
      .map((field) => ({ deployment, field: withVoice(field, voice), expiresAt }))
      .filter(({ field }) => !known.rows.has(keyOf(deployment, field)))
      .slice(0, Math.max(0, room))
    if (rows.length === 0) return
    for (const row of rows) {
      known.rows.set(keyOf(row.deployment, row.field), row)
      known.own.add(keyOf(row.deployment, row.field))
    }
    this.#index(known)
    this.#store.noteRefusals(tenant, rows).then(
      () => {
        for (const row of rows) known.own.delete(keyOf(row.deployment, row.field))
      },
      // Without the store this process knows it all the same.
      () => undefined,
    )
  }

  /** What is remembered of a tenant's requests, whoever met it. */
  async list(tenant: string): Promise<ShownRefusal[]> {
    const rows = await this.#store.listRefusals(tenant)
    const same = Map.groupBy(rows, ({ deployment, field }) => keyOf(deployment, splitVoice(field).refused))
    return [...same.values()].map((all) => ({
      deployment: (all[0] as StoredRefusal).deployment,
      field: splitVoice((all[0] as StoredRefusal).field).refused,
      expiresAt: Math.max(...all.map(({ expiresAt }) => expiresAt)),
      counts: countsForAll(all),
      voices: all.flatMap(({ field }) => splitVoice(field).voice ?? []),
    }))
  }

  /** Forgets it, so that it is tried again. Returns how many were forgotten. */
  async forget(tenant: string, of: RefusalFilter): Promise<number> {
    const isMeant = ({ deployment, field }: StoredRefusal) =>
      deployment === (of.deployment ?? deployment) &&
      splitVoice(field).refused === (of.field ?? splitVoice(field).refused)
    const gone = (await this.#store.listRefusals(tenant)).filter(isMeant)
    for (const { deployment, field } of gone) await this.#store.forgetRefusals(tenant, { deployment, field })
    const known = this.#of(tenant)
    for (const [key, row] of known.rows) if (isMeant(row)) known.rows.delete(key)
    this.#index(known)
    return new Set(gone.map(({ deployment, field }) => keyOf(deployment, splitVoice(field).refused))).size
  }

  /** Another replica has learned something. */
  reload(tenant: string): void {
    const known = this.#of(tenant)
    known.loadedAt = performance.now()
    this.#store.listRefusals(tenant).then(
      (rows) => this.#take(known, rows),
      () => undefined,
    )
  }

  reloadAll(): void {
    for (const tenant of this.#tenants.keys()) this.reload(tenant)
  }

  #of(tenant: string): OfTenant {
    let known = this.#tenants.get(tenant)
    if (!known) {
      known = { rows: new Map(), own: new Set(), byDeployment: new Map(), loadedAt: Number.NEGATIVE_INFINITY }
      this.#tenants.set(tenant, known)
    }
    return known
  }

  /** What the store has; what is not there any more was forgotten. */
  #take(known: OfTenant, rows: readonly StoredRefusal[]): void {
    for (const key of known.rows.keys()) if (!known.own.has(key)) known.rows.delete(key)
    for (const row of rows) known.rows.set(keyOf(row.deployment, row.field), row)
    this.#index(known)
  }

  #index(known: OfTenant): void {
    const now = Date.now()
    for (const [key, { expiresAt }] of known.rows) if (expiresAt <= now) known.rows.delete(key)
    known.byDeployment = new Map(
      [...Map.groupBy(known.rows.values(), ({ deployment }) => deployment)].map(([deployment, all]) => [
        deployment,
        learnedOf(all),
      ]),
    )
  }
}

/** @param rows of one deployment */
function learnedOf(rows: readonly StoredRefusal[]): OfDeployment {
  const forAll: Refused[] = []
  const byVoice = new Map<string, Refused[]>()
  for (const [refused, all] of Map.groupBy(rows, ({ field }) => splitVoice(field).refused)) {
    if (countsForAll(all)) forAll.push(refused)
    else {
      for (const { field } of all) {
        const { voice } = splitVoice(field)
        if (voice !== null) byVoice.set(voice, [...(byVoice.get(voice) ?? []), refused])
      }
    }
  }
  return {
    forAll: forAll.length > 0 ? new Learned(forAll) : undefined,
    byVoice: new Map([...byVoice].map(([voice, own]) => [voice, new Learned([...forAll, ...own])])),
  }
}

/** @param rows of the same refusal, by whomever it was met */
function countsForAll(rows: readonly StoredRefusal[]): boolean {
  const voices = rows.map(({ field }) => splitVoice(field).voice)
  return voices.includes(null) || hearingOf(voices.filter((voice) => voice !== null)) >= QUORUM
}

const keyOf = (deployment: string, field: string) => `${deployment}\0${field}`
