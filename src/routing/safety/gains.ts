import type { Logger } from '../../observability/logger.ts'
import type { GainNote } from '../../store/records/records.ts'
import type { Evidence, Store } from '../../store/store.ts'
import { countedOf, type EvidenceRules, evidenceName, JUDGE } from '../choose/evidence.ts'
import { type Bounds, boundsOf, type Observation, observe, SUMS } from './confidence-sequence.ts'
import { gainOf, type Lift, preferenceOf } from './lift.ts'

/** How far the router is let: see `router.mode` in the configuration. */
export type Mode = 'observe' | 'assist' | 'route'

/** Users by what is known of them: a router may help those whom it knows, and harm those whom it does not. */
export type Group = GainNote['group']
export const groupOf = (rewards: number): Group => (rewards === 0 ? 'new' : rewards < 20 ? 'known' : 'regular')
const GROUPS: readonly Group[] = ['new', 'known', 'regular']
const ALL = 'all'

/** Whose gain over what: another artifact or another baseline begins anew. */
export interface Comparison {
  tenant: string
  /** Artifact version. */
  policy: string
  /** Name of the candidate. */
  baseline: string
}

/** The gain in mean reward, on rewards' scale of -1 to 1; it holds at all times together with probability 1 - ALPHA. */
export interface Certificate extends Bounds {
  verdict: 'gain' | 'harm' | 'open'
  /** Comparisons by the judge among what was counted; the rest are ratings. */
  compared: number
}

/** Probability with which an interval is ever wrong; the groups share as much among them. */
export const ALPHA = 0.05
/** Evidence of another replica shows within this time. */
const REFRESH_MS = 60_000
/**
 * Layout of a stored vector: sum of rewards in [0, 1], the sums of the confidence sequence (the first: how many
 * observations), users who spoke.
 */
const LENGTH = 1 + SUMS + 1
const COUNT = 1
const USERS = LENGTH - 1
/** Doublings of the rewards' scale: -1 to 1 is twice as wide as 0 to 1. */
const SCALE = 2

interface Known {
  /** By group, then by voice. */
  sums: Map<string, Map<string, Float64Array>>
  loadedAt: number
  /** Until something is added. */
  certificates: Map<string, Certificate>
}

/** Who rated: see `choose/evidence.ts`. */
export interface RatedBy {
  voice: string
  /** A user's first rating of those that count. */
  isNew: boolean
}

export interface GainsOptions {
  store: Pick<Store, 'loadEvidence' | 'addEvidence'>
  rules: Pick<EvidenceRules, 'quorum' | 'keyWeight'>
  log: Pick<Logger, 'warn'>
  /** A tenant's group of users is known to gain or to lose by the router, or no longer. */
  onVerdict?: (comparison: Comparison, group: string, certificate: Certificate) => void
  now?: () => number
}

/**
 * Certificates of the router's gain over a baseline, by tenant and group of users, from rated answers and the exact
 * propensities with which they were drawn. Sums lie in the store, so that replicas add to the same ones.
 *
 * They are kept by voice, and a verdict needs a quorum of them and must hold without any one: nobody certifies alone,
 * or revokes. Each part of the sums is a bet of its own on what it saw, with stakes from what was seen before, so that
 * leaving some out leaves a confidence sequence. A key that nobody else speaks beside can only call the baseline back.
 *
 * A judge that compares answers with the baseline's own is one gambler more on the same capital: under a router that is
 * no better in its eyes nor in the users', the capital stays a supermartingale. It shortens the way to a verdict that
 * users' ratings point to; it never gives one against them, nor without a quorum of them.
 */
export class Gains {
  readonly #options: GainsOptions
  readonly #now: () => number
  readonly #known = new Map<string, Known>()
  readonly #verdicts = new Map<string, Certificate['verdict']>()

  constructor(options: GainsOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  /**
   * Share of requests in which the router chooses; of what is known in memory, which a first request has fetched in the
   * background.
   *
   * @param trial share of requests in `assist` as long as nothing is certified
   */
  routed(mode: Mode, comparison: Comparison, group: Group, trial: number): number {
    if (mode === 'observe') return 0
    const verdicts = [this.certificate(comparison, ALL).verdict, this.certificate(comparison, group).verdict]
    if (verdicts.includes('harm')) return 0
    return mode === 'route' || verdicts.includes('gain') ? 1 : trial
  }

  /** Takes in a rated answer, once. `reward`: -1 to 1. */
  async note(comparison: Comparison, group: Group, lift: Lift, reward: number, by: RatedBy): Promise<void> {
    const rated = (reward + 1) / 2
    await this.#add(comparison, group, by, (centre) => [rated, gainOf(lift, rated, centre)])
  }

  /** Takes in a judge's comparison with the baseline's answer, once. @param preferred as for `preferenceOf` */
  async noteComparison(comparison: Comparison, group: Group, lift: Lift, preferred: -1 | 0 | 1): Promise<void> {
    const by = { voice: JUDGE, isNew: false }
    await this.#add(comparison, group, by, (centre) => [centre, preferenceOf(lift, preferred)])
  }

  /** @param seen what is added to the sum of rewards, and the observation, given the mean reward so far */
  async #add(
    comparison: Comparison,
    group: Group,
    by: RatedBy,
    seen: (centre: number) => [reward: number, observation: Observation],
  ): Promise<void> {
    const known = await this.#load(comparison)
    for (const name of [ALL, group]) {
      const voices = known.sums.get(name) ?? new Map<string, Float64Array>()
      known.sums.set(name, voices)
      const total = totalOf(voices)
      // The mean reward so far, drawn to the middle: known before this reward, as a bet must be.
      const [reward, observation] = seen(((total[0] as number) + 1) / ((total[COUNT] as number) + 2))
      const added = new Float32Array(LENGTH)
      added[0] = reward
      added.set(observe(total.subarray(COUNT), observation), COUNT)
      added[USERS] = by.isNew ? 1 : 0
      const sums = voices.get(by.voice) ?? new Float64Array(LENGTH)
      voices.set(
        by.voice,
        sums.map((value, i) => value + added[i]!),
      )
      known.certificates.clear()
      this.#tell(comparison, name)
      const row = evidenceName(name, by.voice)
      await this.#options.store.addEvidence(comparison.tenant, keyOf(comparison), row, added)
    }
  }

  certificate(comparison: Comparison, group: Group | typeof ALL): Certificate {
    const known = this.#known.get(idOf(comparison))
    if (!known || this.#now() - known.loadedAt > REFRESH_MS) this.#refresh(comparison)
    let certificate = known?.certificates.get(group)
    if (!certificate) {
      certificate = this.#certify(known?.sums ?? new Map(), group)
      known?.certificates.set(group, certificate)
    }
    return certificate
  }

  #certify(sums: Known['sums'], group: Group | typeof ALL): Certificate {
    const voices = sums.get(group) ?? new Map<string, Float64Array>()
    const alpha = group === ALL ? ALPHA : ALPHA / GROUPS.length
    const bounds = boundsOf(totalOf(voices).subarray(COUNT, USERS), alpha)
    const { count, estimate, low, high } = bounds
    const verdict = this.#isQuorate(sums.get(ALL)) ? verdictOf(voices, bounds, alpha) : 'open'
    const compared = voices.get(JUDGE)?.[COUNT] ?? 0
    return { count, compared, estimate: SCALE * estimate, low: SCALE * low, high: SCALE * high, verdict }
  }

  #isQuorate(voices: ReadonlyMap<string, Float64Array> = new Map()): boolean {
    const { rules } = this.#options
    let heads = 0
    for (const [voice, sums] of voices) if (voice !== JUDGE) heads += countedOf(voice, sums[USERS] ?? 0, rules)
    return heads >= rules.quorum
  }

  /** Of all groups, from the store. */
  async report(comparison: Comparison): Promise<Record<string, Certificate>> {
    await this.#load(comparison)
    return Object.fromEntries(
      [ALL, ...GROUPS].map((group) => [group, this.certificate(comparison, group as Group | typeof ALL)]),
    )
  }

  #tell(comparison: Comparison, group: string): void {
    const certificate = this.certificate(comparison, group as Group)
    const id = `${idOf(comparison)}\0${group}`
    if (certificate.verdict === (this.#verdicts.get(id) ?? 'open')) return
    this.#verdicts.set(id, certificate.verdict)
    this.#options.onVerdict?.(comparison, group, certificate)
  }

  #refresh(comparison: Comparison): void {
    const known = this.#known.get(idOf(comparison))
    // One look at a time; what is known stays until it is answered.
    if (known) known.loadedAt = this.#now()
    else this.#known.set(idOf(comparison), { sums: new Map(), loadedAt: this.#now(), certificates: new Map() })
    this.#fetch(comparison).catch((error: Error) =>
      this.#options.log.warn({ reason: error.message, tenant: comparison.tenant }, 'gain over the baseline not loaded'),
    )
  }

  async #load(comparison: Comparison): Promise<Known> {
    return this.#known.get(idOf(comparison)) ?? this.#fetch(comparison)
  }

  async #fetch(comparison: Comparison): Promise<Known> {
    const stored: Evidence = await this.#options.store.loadEvidence(comparison.tenant, keyOf(comparison))
    const sums: Known['sums'] = new Map()
    for (const [name, vector] of stored) {
      const [group = '', voice = ''] = name.split('#')
      if (vector.length !== LENGTH) continue
      sums.set(group, (sums.get(group) ?? new Map()).set(voice, Float64Array.from(vector)))
    }
    const known: Known = { sums, loadedAt: this.#now(), certificates: new Map() }
    this.#known.set(idOf(comparison), known)
    for (const group of sums.keys()) this.#tell(comparison, group)
    return known
  }
}

function totalOf(voices: ReadonlyMap<string, Float64Array>, without?: string): Float64Array {
  const total = new Float64Array(LENGTH)
  for (const [voice, sums] of voices) if (voice !== without) for (let i = 0; i < LENGTH; i++) total[i]! += sums[i]!
  return total
}

/** What all say together, if they say so without any one of the users, too, and users alone don't say the contrary. */
function verdictOf(voices: ReadonlyMap<string, Float64Array>, bounds: Bounds, alpha: number): Certificate['verdict'] {
  const verdict = signOf(bounds)
  if (verdict === 'open') return verdict
  const byUsers = boundsOf(totalOf(voices, JUDGE).subarray(COUNT, USERS), alpha)
  if (verdict === 'gain' ? byUsers.estimate < 0 : byUsers.estimate > 0) return 'open'
  const users = [...voices.keys()].filter((voice) => voice !== JUDGE)
  if (users.length < 2) return verdict === 'harm' ? verdict : 'open'
  for (const voice of users) {
    if (signOf(boundsOf(totalOf(voices, voice).subarray(COUNT, USERS), alpha)) !== verdict) return 'open'
  }
  return verdict
}

const signOf = ({ count, low, high }: Bounds) =>
  count === 0 ? 'open' : low >= 0 ? 'gain' : high <= 0 ? 'harm' : 'open'

/** Kept like the evidence of an artifact, beside it; `gain:` is where earlier releases kept it, by user id. */
const keyOf = ({ policy, baseline }: Comparison) => `certificate:${policy}:${baseline}`
const idOf = (comparison: Comparison) => `${comparison.tenant}\0${keyOf(comparison)}`
