import type { Candidate } from '../../candidates/candidate.ts'
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

interface OfTenant {
  rows: Map<string, StoredRefusal>
  /** Of these the store has not said yet that it has them. */
  own: Set<string>
  byDeployment: Map<string, Learned>
  loadedAt: number
}

/**
 * What deployments have refused of a tenant's requests, so that the next one is spared it. Kept by tenant: nobody can
 * teach the gateway something about another's requests. Read without waiting; the store's copy comes when it comes.
 */
export class Refusals {
  readonly #store: RefusalStore
  readonly #tenants = new Map<string, OfTenant>()

  constructor(store: RefusalStore) {
    this.#store = store
  }

  of(tenant: string, candidate: Candidate): Learned | undefined {
    const known = this.#of(tenant)
    if (performance.now() - known.loadedAt > RELOAD_MS) this.reload(tenant)
    return known.byDeployment.size === 0 ? undefined : known.byDeployment.get(deploymentOf(candidate))
  }

  /** Called once the same request has been answered otherwise: then it was the candidate, not the request. */
  note(tenant: string, candidate: Candidate, refused: readonly Refused[]): void {
    const known = this.#of(tenant)
    const deployment = deploymentOf(candidate)
    const expiresAt = Date.now() + REMEMBERED_MS
    const rows = refused
      .filter((field) => field.length <= MAX_CHARS && !known.rows.has(keyOf(deployment, field)))
      .slice(0, Math.max(0, MAX_A_TENANT - known.rows.size))
      .map((field) => ({ deployment, field, expiresAt }))
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

  /** What is remembered of a tenant's requests. */
  list(tenant: string): Promise<StoredRefusal[]> {
    return this.#store.listRefusals(tenant)
  }

  /** Forgets it, so that it is tried again. Returns how many were forgotten. */
  async forget(tenant: string, of: RefusalFilter): Promise<number> {
    const count = await this.#store.forgetRefusals(tenant, of)
    const known = this.#of(tenant)
    for (const [key, { deployment, field }] of known.rows) {
      if (deployment === (of.deployment ?? deployment) && field === (of.field ?? field)) known.rows.delete(key)
    }
    this.#index(known)
    return count
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
        new Learned(all.map(({ field }) => field)),
      ]),
    )
  }
}

const keyOf = (deployment: string, field: string) => `${deployment}\0${field}`
