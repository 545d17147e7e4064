import type { Candidate } from '../../candidates/candidate.ts'
import { isFiniteVector } from '../../learning/profile.ts'
import type { Logger } from '../../observability/logger.ts'
import { Tensor } from '../../runtime/onnxruntime.ts'
import type { Evidence } from '../../store/store.ts'
import type { Dims } from '../artifact/manifest.ts'
import type { Artifact } from '../artifact/types.ts'
import { cardFeatures, cardText } from '../choose/card.ts'
import { code, codesOf } from '../choose/codes.ts'
import { evidenceName, PEOPLE, type Speaker, voiceOf } from '../choose/evidence.ts'
import { popularAmong } from './popularity.ts'
import { runUser } from './user-graph.ts'

/** A text's vector, from the embedder that the artifact was trained with; [E]. */
export type Embed = (text: string) => Float32Array | Promise<Float32Array>

/** States of a list of candidates as `score.onnx` takes them. */
export interface LlmTable {
  candidates: readonly Candidate[]
  /** [M, Z] */
  z: Tensor
  /** State of the tenant's new users, [S]. */
  cold: Float32Array
}

interface Card {
  features: Float32Array
  text: Float32Array
  vendor: string
  name: string
  price: readonly [number, number]
  /** From the training data; null where it holds nothing of this LLM. */
  population: Float32Array | null
}

/** Codes of all that a tenant may use. */
interface TenantCodes {
  /** The names that they are of. */
  of: string
  providers: ReadonlyMap<string, Float32Array>
  names: ReadonlyMap<string, Float32Array>
}

/** The basis of codes each of which is made of its own name alone. */
export const HASHED = ''

/** [P] of its maker and [C] of its name. */
export interface LlmCodes {
  provider: Float32Array
  name: Float32Array
}

/** A tenant's candidates by the running configuration. */
export type CandidatesOf = (tenant: string) => readonly Candidate[]

/**
 * States of the candidates under one tenant's outcomes; replaced whole when outcomes arrive, or other candidates.
 */
interface TenantStates {
  evidence: Evidence
  codes: TenantCodes
  rows: Map<Candidate, Float32Array>
  /** What differs for single voices, by voice: names in the evidence that have one (`evidenceName`). */
  voices: Map<string, OfVoice>
  /** State of new users, [S], and how frequent each kind of people is, [J]; once it was asked for. */
  newcomer: Promise<Newcomer> | null
  /** By identity of the list: a tenant's own list is the same array on every request. */
  tables: WeakMap<readonly Candidate[], LlmTable>
}

/** States as outcomes that serve one voice alone make them. */
interface OfVoice {
  /** Candidates' names. */
  names: ReadonlySet<string>
  rows: Map<Candidate, Float32Array>
  tables: WeakMap<readonly Candidate[], LlmTable>
}

/** A user of whom nothing is known but whose tenant it is. */
export interface Newcomer {
  /** [S] */
  state: Float32Array
  /** [J]: how frequent kinds of people are among the tenant's users. */
  people: Float32Array
}

/** New outcomes of a tenant take effect within this time, and together. */
const REFRESH_MS = 2_000
/** Pause before evidence is read again after a failure of the store. */
const RETRY_MS = 5_000

/** z of each candidate for each tenant: card and evidence through `llm.onnx`, kept until either changes. */
export class LlmStates {
  readonly #artifact: Artifact
  readonly #embed: Embed
  readonly #loadEvidence: (tenant: string) => Promise<Evidence>
  readonly #candidatesOf: CandidatesOf
  readonly #log: Logger
  readonly #codes = new WeakMap<readonly Candidate[], TenantCodes>()
  readonly #cards = new WeakMap<Candidate, Promise<Card>>()
  readonly #tenants = new Map<string, TenantStates>()
  readonly #opening = new Map<string, Promise<TenantStates>>()
  readonly #timers = new Map<string, NodeJS.Timeout>()

  constructor(
    artifact: Artifact,
    embed: Embed,
    loadEvidence: (tenant: string) => Promise<Evidence>,
    candidatesOf: CandidatesOf,
    log: Logger,
  ) {
    this.#artifact = artifact
    this.#embed = embed
    this.#loadEvidence = loadEvidence
    this.#candidatesOf = candidatesOf
    this.#log = log
  }

  /**
   * Synchronous where it is known already, as for nearly every request.
   *
   * @param speaker who asks: what was measured for them alone counts, too
   */
  table(tenant: string, candidates: readonly Candidate[], speaker?: Speaker): LlmTable | Promise<LlmTable> {
    const states = this.#tenants.get(tenant)
    if (states === undefined || states.codes !== this.#namesOf(tenant)) {
      return this.#makeTable(tenant, candidates, speaker)
    }
    const { tables } = voiceIn(states, speaker) ?? states
    return tables.get(candidates) ?? this.#makeTable(tenant, candidates, speaker)
  }

  /** z of candidates, [Z] each. */
  async rows(tenant: string, candidates: readonly Candidate[]): Promise<Float32Array[]> {
    const states = await this.#open(tenant)
    await this.#compute(states, [...new Set(candidates)])
    return candidates.map((candidate) => states.rows.get(candidate) as Float32Array)
  }

  /** z of candidates as their cards alone make expect, [Z] each. */
  async byCard(tenant: string, candidates: readonly Candidate[]): Promise<Float32Array[]> {
    const { codes } = await this.#open(tenant)
    return this.#run(await Promise.all(candidates.map((candidate) => this.#card(candidate))), [], codes)
  }

  /** What a tenant's users told of it, together, [Y]. */
  async tenantSums(tenant: string): Promise<Float32Array> {
    const { Y } = this.#artifact.dims
    return Y === 0 ? new Float32Array(0) : sumsIn((await this.#open(tenant)).evidence, Y)
  }

  /** A new user of a tenant. */
  async newcomerOf(tenant: string): Promise<Newcomer> {
    return this.#newcomer(await this.#open(tenant))
  }

  /** By which likings for a maker and a name are told apart from others'. */
  codesOf(tenant: string, { vendor, name }: Pick<Candidate, 'vendor' | 'name'>): LlmCodes {
    return codesIn(this.#namesOf(tenant), { vendor, name }, this.#artifact.dims)
  }

  /** What a tenant's codes are made of, besides each name itself: messages under different ones don't add up. */
  basisOf(tenant: string): string {
    return this.#artifact.manifest.codes === 'hashed' ? HASHED : this.#namesOf(tenant).of
  }

  /** Forgets candidates of former configurations. */
  keepOnly(tenant: string, candidates: readonly Candidate[]): void {
    const states = this.#tenants.get(tenant)
    const kept = new Set(candidates)
    for (const rows of states ? [states.rows, ...[...states.voices.values()].map((of) => of.rows)] : []) {
      for (const candidate of rows.keys()) if (!kept.has(candidate)) rows.delete(candidate)
    }
  }

  /** How many candidates of a tenant are in memory. */
  size(tenant: string): number {
    return this.#tenants.get(tenant)?.rows.size ?? 0
  }

  /**
   * Computes the states that another artifact's instance holds, of one tenant or of all, so that a swap delays no
   * request.
   */
  async warmLike(other: LlmStates, tenant?: string): Promise<void> {
    const tenants = tenant === undefined ? [...other.#tenants.keys()] : [tenant]
    for (const name of tenants) await this.rows(name, [...(other.#tenants.get(name)?.rows.keys() ?? [])])
  }

  /**
   * Applies outcomes that arrived here or in another process soon; until then the old z is served.
   */
  refreshSoon(tenant: string, afterMs = REFRESH_MS): void {
    if (!this.#tenants.has(tenant) || this.#timers.has(tenant)) return
    const timer = setTimeout(() => {
      this.#timers.delete(tenant)
      this.refresh(tenant).catch((error) => this.#log.warn({ err: error, tenant }, 'evidence not refreshed'))
    }, afterMs)
    timer.unref()
    this.#timers.set(tenant, timer)
  }

  /** Applies a tenant's outcomes now; swaps when all is computed. */
  async refresh(tenant: string): Promise<void> {
    const old = this.#tenants.get(tenant)
    if (!old) return
    const next = await this.#load(tenant, old.evidence)
    await this.#compute(next, [...old.rows.keys()])
    for (const [voice, { rows }] of next.voices) {
      if (old.voices.get(voice)?.rows.size) await this.#computeFor(voice, next, [...old.rows.keys()], rows)
    }
    this.#tenants.set(tenant, next)
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }

  async #makeTable(tenant: string, candidates: readonly Candidate[], speaker?: Speaker): Promise<LlmTable> {
    const states = await this.#open(tenant)
    await this.#compute(states, candidates)
    const own = voiceIn(states, speaker)
    if (own && speaker) await this.#computeFor(voiceOf(speaker), states, candidates, own.rows)
    const { state: cold } = await this.#newcomer(states)
    // Nothing is awaited from here on: all who ask together share one table.
    const { tables } = own ?? states
    const made = tables.get(candidates)
    if (made) return made
    const { Z } = this.#artifact.dims
    const z = new Float32Array(candidates.length * Z)
    for (const [i, candidate] of candidates.entries()) {
      z.set((own?.rows.get(candidate) ?? states.rows.get(candidate)) as Float32Array, i * Z)
    }
    const table = { candidates, z: new Tensor('float32', z, [candidates.length, Z]), cold }
    tables.set(candidates, table)
    return table
  }

  async #open(tenant: string): Promise<TenantStates> {
    const known = this.#tenants.get(tenant)
    if (known) return this.#withCodes(tenant, known)
    let opening = this.#opening.get(tenant)
    if (!opening) {
      opening = this.#load(tenant, new Map()).finally(() => this.#opening.delete(tenant))
      this.#opening.set(tenant, opening)
    }
    const states = await opening
    if (!this.#tenants.has(tenant)) this.#tenants.set(tenant, states)
    return this.#tenants.get(tenant) as TenantStates
  }

  /** A store that is away costs the tenant's own outcomes for a while, not the request. */
  async #load(tenant: string, otherwise: Evidence): Promise<TenantStates> {
    const evidence = await this.#loadEvidence(tenant).catch((error) => {
      this.#log.warn({ err: error, tenant }, 'evidence not loaded')
      setTimeout(() => this.refreshSoon(tenant), RETRY_MS).unref()
      return otherwise
    })
    const codes = this.#namesOf(tenant)
    return { evidence, codes, rows: new Map(), voices: voicesIn(evidence), newcomer: null, tables: new WeakMap() }
  }

  /** Another list of candidates may have other names in it, and then all have other codes. */
  #withCodes(tenant: string, states: TenantStates): TenantStates {
    const codes = this.#namesOf(tenant)
    if (codes === states.codes) return states
    const next =
      codes.of === states.codes.of
        ? { ...states, codes }
        : { ...states, codes, rows: new Map(), voices: voicesIn(states.evidence), tables: new WeakMap() }
    this.#tenants.set(tenant, next)
    return next
  }

  #namesOf(tenant: string): TenantCodes {
    const candidates = this.#candidatesOf(tenant)
    let codes = this.#codes.get(candidates)
    if (!codes) {
      const { dims, manifest } = this.#artifact
      const vendors = candidates.map(({ vendor }) => vendor)
      const names = candidates.map(({ name }) => name)
      codes = {
        of: JSON.stringify([vendors.toSorted(), names.toSorted()]),
        providers: codesOf(vendors, dims.P, manifest.codes),
        names: codesOf(names, dims.C, manifest.codes),
      }
      this.#codes.set(candidates, codes)
    }
    return codes
  }

  #newcomer(states: TenantStates): Promise<Newcomer> {
    const { H, Y } = this.#artifact.dims
    if (!states.newcomer) {
      const { sessions, dims } = this.#artifact
      const nothing = new Float32Array(H)
      const made = runUser(sessions.user, dims, nothing, sumsIn(states.evidence, Y)).then((found) =>
        // Broken sums of one tenant: its users are like any other's.
        isFiniteVector(found.state) ? found : runUser(sessions.user, dims, nothing),
      )
      made.catch(() => {
        if (states.newcomer === made) states.newcomer = null
      })
      states.newcomer = made
    }
    return states.newcomer
  }

  #compute(states: TenantStates, candidates: readonly Candidate[]): Promise<void> {
    return this.#fill(states.rows, candidates, ({ name }) => states.evidence.get(name) ?? null, states)
  }

  /** Of those alone of which something serves this voice only. */
  #computeFor(
    voice: string,
    states: TenantStates,
    candidates: readonly Candidate[],
    rows: Map<Candidate, Float32Array>,
  ): Promise<void> {
    const names = states.voices.get(voice)?.names
    const own = candidates.filter(({ name }) => names?.has(name))
    return this.#fill(rows, own, ({ name }) => states.evidence.get(evidenceName(name, voice)) ?? null, states)
  }

  async #fill(
    known: Map<Candidate, Float32Array>,
    candidates: readonly Candidate[],
    evidenceOn: (candidate: Candidate) => Float32Array | null,
    states: TenantStates,
  ): Promise<void> {
    const missing = candidates.filter((candidate) => !known.has(candidate))
    if (missing.length === 0) return
    const cards = await Promise.all(missing.map((candidate) => this.#card(candidate)))
    const { people } = await this.#newcomer(states)
    const own = missing.map(evidenceOn).map((sum) => sum && popularAmong(people, sum))
    const { codes } = states
    let rows = await this.#run(cards, own, codes)
    if (!rows.every(isFiniteVector)) {
      // Broken sums of one tenant: route without them rather than not at all.
      this.#log.warn({ candidates: missing.map(({ name }) => name) }, 'evidence gives no finite LLM state: left out')
      rows = await this.#run(cards, [], codes)
    }
    for (const [i, candidate] of missing.entries()) known.set(candidate, rows[i] as Float32Array)
  }

  async #run(
    cards: readonly Card[],
    own: readonly (Float32Array | null)[],
    codes: TenantCodes,
  ): Promise<Float32Array[]> {
    const { dims } = this.#artifact
    const { F, E, P, C, V, Z } = dims
    const coded = cards.map((card) => codesIn(codes, card, dims))
    const evidence = cards.map(({ population }, i) => plus(population, own[i]?.length === V ? own[i] : null))
    const { z } = await this.#artifact.sessions.llm.run({
      card: stack(
        cards.map(({ features }) => features),
        F,
      ),
      text: stack(
        cards.map(({ text }) => text),
        E,
      ),
      provider_code: stack(
        coded.map(({ provider }) => provider),
        P,
      ),
      name_code: stack(
        coded.map(({ name }) => name),
        C,
      ),
      price: stack(
        cards.map(({ price }) => price),
        2,
      ),
      evidence: stack(
        evidence.map((sum) => sum ?? new Float32Array(V)),
        V,
      ),
    })
    const all = z?.data as Float32Array
    return cards.map((_, i) => all.slice(i * Z, (i + 1) * Z))
  }

  #card(candidate: Candidate): Promise<Card> {
    let card = this.#cards.get(candidate)
    if (!card) {
      card = this.#readCard(candidate)
      card.catch(() => this.#cards.delete(candidate))
      this.#cards.set(candidate, card)
    }
    return card
  }

  async #readCard(candidate: Candidate): Promise<Card> {
    const { manifest, population } = this.#artifact
    return {
      features: cardFeatures(candidate, manifest.card_features, manifest),
      text: await this.#embed(cardText(candidate)),
      vendor: candidate.vendor,
      name: candidate.name,
      price: [candidate.price.input, candidate.price.output],
      population: population.get(candidate.model.toLowerCase()) ?? population.get(candidate.name.toLowerCase()) ?? null,
    }
  }
}

/** Voices that have outcomes of their own in the evidence, and on which candidates. */
function voicesIn(evidence: Evidence): Map<string, OfVoice> {
  const names = new Map<string, Set<string>>()
  for (const key of evidence.keys()) {
    const [name, voice] = key.split('#')
    if (name === undefined || voice === undefined) continue
    names.set(voice, (names.get(voice) ?? new Set()).add(name))
  }
  return new Map([...names].map(([voice, of]) => [voice, { names: of, rows: new Map(), tables: new WeakMap() }]))
}

const voiceIn = ({ voices }: TenantStates, speaker: Speaker | undefined) =>
  speaker && voices.size > 0 ? voices.get(voiceOf(speaker)) : undefined

/** [Y], of pooled evidence. */
function sumsIn(evidence: Evidence, size: number): Float32Array {
  const sums = evidence.get(PEOPLE)
  return sums?.length === size && isFiniteVector(sums) ? sums : new Float32Array(size)
}

/** A name that is not the tenant's has its hashed code. */
const codesIn = (
  { providers, names }: TenantCodes,
  of: { vendor: string; name: string },
  { P, C }: Dims,
): LlmCodes => ({
  provider: providers.get(of.vendor.toLowerCase()) ?? code(of.vendor, P),
  name: names.get(of.name.toLowerCase()) ?? code(of.name, C),
})

function stack(rows: readonly (Float32Array | readonly number[])[], width: number): Tensor {
  const data = new Float32Array(rows.length * width)
  for (const [i, row] of rows.entries()) data.set(row, i * width)
  return new Tensor('float32', data, [rows.length, width])
}

function plus(a: Float32Array | null, b: Float32Array | null): Float32Array | null {
  if (!a || !b) return a ?? b
  return a.map((value, i) => value + (b[i] as number))
}
