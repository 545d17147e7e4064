import { type CircuitBreakerPolicy, CircuitState, circuitBreaker, handleWhenResult } from 'cockatiel'
import type { Candidate } from '../../candidates/candidate.ts'
import type { RetriesConfig } from '../../config/schema.ts'

export type BreakerState = 'closed' | 'open' | 'half-open'

/** What a breaker sees of one try. */
export interface Health {
  /**
   * `failed`: the deployment failed, and a request's content may have been what made it; `gone`: it failed whatever was
   * asked; `unknown`: it answered, and that says nothing (a refusal of this request).
   */
  health: 'well' | 'failed' | 'gone' | 'unknown'
}

/** Asks a deployment something harmless: whether it answers. */
export type Probe = (deployment: string) => Promise<boolean>

/**
 * One breaker a deployment: a provider's model. Several candidates may share one.
 *
 * Replicas tell each other of theirs, so that mostly one of them probes for all: who opened is due first, the others a
 * little later, and whoever probes holds the others back meanwhile. Nobody waits for another's word for longer than
 * `MAX_HELD` times `open_ms`; then it asks for itself.
 */
export class Breakers {
  readonly #config: RetriesConfig['breaker']
  readonly #breakers = new Map<string, Breaker>()
  /** Of all that may answer each request asks: without putting their names together. */
  readonly #ofCandidates = new WeakMap<Candidate, Breaker>()
  readonly #onChange: ((deployment: string, state: BreakerState) => void) | undefined
  readonly #tell: ((deployment: string, ms: number) => void) | undefined
  readonly #probe: Probe | undefined

  /**
   * @param tell what the other replicas should hear through `hear`: leave it alone for `ms`; 0: it is well
   * @param probe decides where all failures are one user's: what they asked may be to blame
   */
  constructor(
    config: RetriesConfig['breaker'],
    onChange?: (deployment: string, state: BreakerState) => void,
    tell?: (deployment: string, ms: number) => void,
    probe?: Probe,
  ) {
    this.#config = config
    this.#onChange = onChange
    this.#tell = tell
    this.#probe = probe
  }

  of(candidate: Candidate): Breaker {
    let breaker = this.#ofCandidates.get(candidate)
    if (!breaker) {
      breaker = this.#named(deploymentOf(candidate))
      this.#ofCandidates.set(candidate, breaker)
    }
    return breaker
  }

  /** What another replica tells. */
  hear(deployment: string, ms: number): void {
    const breaker = this.#named(deployment)
    if (ms > 0) breaker.hold(Math.min(ms, this.#config.open_ms))
    else breaker.release()
  }

  #named(deployment: string): Breaker {
    let breaker = this.#breakers.get(deployment)
    if (!breaker) {
      breaker = new Breaker(
        this.#config,
        (state) => this.#onChange?.(deployment, state),
        (ms) => this.#tell?.(deployment, ms),
        this.#probe && (() => this.#probe?.(deployment) ?? Promise.resolve(true)),
      )
      this.#breakers.set(deployment, breaker)
    }
    return breaker
  }

  /** For metrics and `/readyz`; deployments that were never tried are absent. */
  states(): Map<string, BreakerState> {
    return new Map([...this.#breakers].map(([name, breaker]) => [name, breaker.state]))
  }
}

export const deploymentOf = ({ provider, model }: Candidate) => `${provider}/${model}`

/** Times `open_ms` that other replicas can keep a breaker open without a probe of its own. */
const MAX_HELD = 2
/** Later than who opened, and not all at once: shares of `open_ms`. */
const [LATER, SPREAD] = [0.1, 0.25]

/**
 * Consecutive failures, and who saw them: one caller's alone open nothing, since what they ask for may be what fails.
 * A refusal counts neither way.
 */
class Evidence {
  state: unknown
  #failures = 0
  #gone = 0
  readonly #askers = new Set<string>()
  #asked = false
  #confirmed = false
  readonly #needed: number
  readonly #onSuspicion: (() => void) | undefined

  constructor(needed: number, onSuspicion: (() => void) | undefined) {
    this.#needed = needed
    this.#onSuspicion = onSuspicion
  }

  /** @returns whether it is a failure */
  note({ health }: Health, asker: string | undefined): boolean {
    if (health === 'well') this.#reset()
    if (health !== 'failed' && health !== 'gone') return false
    this.#failures++
    if (health === 'gone') this.#gone++
    // Who is not known counts each time.
    this.#askers.add(asker ?? `\0${this.#failures}`)
    return true
  }

  /** A probe of the gateway's own failed. */
  confirm(): void {
    this.#confirmed = true
  }

  success(state: CircuitState): void {
    if (state === CircuitState.HalfOpen) this.#reset()
  }

  failure(): boolean {
    if (this.#failures < this.#needed) return false
    if (this.#confirmed || this.#askers.size > 1 || this.#gone >= this.#needed || !this.#onSuspicion) return true
    if (!this.#asked) this.#onSuspicion()
    this.#asked = true
    return false
  }

  /** The probe was answered: it is the caller's own trouble. */
  acquit(): void {
    this.#reset()
  }

  #reset(): void {
    this.#failures = 0
    this.#gone = 0
    this.#askers.clear()
    this.#asked = false
    this.#confirmed = false
  }
}

/** Carries who asked to the breaker. */
type Seen = Health & { asker?: string | undefined }

/**
 * A consecutive breaker on cockatiel's policy, on a monotonic clock (its own reads the wall clock, and a jump back
 * would keep it open for as long), and without a queue: while the one probe of a half-open breaker is out, others are
 * turned away and go to the next candidate.
 */
export class Breaker {
  readonly #config: RetriesConfig['breaker']
  readonly #onChange: (state: BreakerState) => void
  readonly #tell: (ms: number) => void
  readonly #suspect: (() => void) | undefined
  #evidence: Evidence
  #policy: CircuitBreakerPolicy
  #openUntil = Number.NEGATIVE_INFINITY
  #openedAt = Number.NEGATIVE_INFINITY
  /** Opened on another replica's word. */
  #isHeld = false

  constructor(
    config: RetriesConfig['breaker'],
    onChange: (state: BreakerState) => void,
    tell: (ms: number) => void = () => {},
    probe?: () => Promise<boolean>,
  ) {
    this.#config = config
    this.#onChange = onChange
    this.#tell = tell
    this.#suspect = probe && (() => void this.#ask(probe))
    this.#evidence = new Evidence(config.failures, this.#suspect)
    this.#policy = this.#createPolicy()
  }

  get state(): BreakerState {
    switch (this.#policy.state) {
      case CircuitState.Closed:
        return 'closed'
      case CircuitState.HalfOpen:
        return 'half-open'
      default:
        return performance.now() < this.#openUntil ? 'open' : 'half-open'
    }
  }

  /** Whether a request would be turned away now. */
  get isOpen(): boolean {
    const { state } = this.#policy
    return state === CircuitState.HalfOpen || (state === CircuitState.Open && performance.now() < this.#openUntil)
  }

  /** Milliseconds until it is worth asking again. */
  get remainingMs(): number {
    return Math.max(0, this.#openUntil - performance.now())
  }

  /** Another replica opened, or probes: open here too, for a little longer. A probe that is out goes on. */
  hold(ms: number): void {
    if (this.#policy.state === CircuitState.HalfOpen) return
    const now = performance.now()
    if (this.#policy.state === CircuitState.Closed) {
      this.#openedAt = now
      this.#isHeld = true
      this.#policy = this.#createPolicy(due(this.#config.failures))
      this.#onChange('open')
    }
    const openMs = this.#config.open_ms
    const until = now + ms + openMs * (LATER + SPREAD * Math.random())
    this.#openUntil = Math.max(this.#openUntil, Math.min(until, this.#openedAt + MAX_HELD * openMs))
  }

  /** Another replica found it well: closed, where it was open on others' word; else due for a probe. */
  release(): void {
    if (this.#policy.state !== CircuitState.Open) return
    this.#openUntil = Number.NEGATIVE_INFINITY
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#policy = this.#createPolicy()
    this.#onChange('closed')
  }

  /**
   * Runs one try. A throw counts neither way (the client left). Call only while `isOpen` is false.
   *
   * @param asker whose request it is
   */
  async run<T extends Health>(attempt: () => Promise<T>, asker?: string): Promise<T> {
    const seen = async () => {
      const result: T & Seen = await attempt()
      if (asker !== undefined) result.asker = asker
      return result
    }
    if (this.#policy.state !== CircuitState.Open) return this.#policy.execute(seen)
    this.#policy = this.#createPolicy(due(this.#config.failures))
    return this.#probe(this.#policy, seen)
  }

  /** Whether it fails whoever asks: then it opens. */
  async #ask(probe: () => Promise<boolean>): Promise<void> {
    const evidence = this.#evidence
    const isWell = await probe().catch(() => false)
    if (evidence !== this.#evidence || this.#policy.state !== CircuitState.Closed) return
    if (isWell) return evidence.acquit()
    evidence.confirm()
    await this.#policy.execute(async (): Promise<Health> => ({ health: 'gone' }))
  }

  #probe<T extends Health>(policy: CircuitBreakerPolicy, attempt: () => Promise<T>): Promise<T> {
    return policy.execute(async () => {
      try {
        return await attempt()
      } catch (error) {
        // To cockatiel a success: it would close.
        this.#policy = this.#createPolicy(due(this.#config.failures))
        throw error
      }
    })
  }

  #createPolicy(initialState?: unknown): CircuitBreakerPolicy {
    const evidence = new Evidence(this.#config.failures, this.#suspect)
    this.#evidence = evidence
    const policy = circuitBreaker(
      handleWhenResult((result) => evidence.note(result as Seen, (result as Seen).asker)),
      {
        halfOpenAfter: this.#config.open_ms,
        breaker: evidence,
        ...(initialState !== undefined && { initialState }),
      },
    )
    const changed = (state: BreakerState, ms: number) => {
      // Tries that began under an earlier policy end under it, unheard.
      if (policy !== this.#policy) return
      this.#isHeld = false
      if (state === 'open') {
        this.#openedAt = performance.now()
        this.#openUntil = this.#openedAt + ms
      }
      this.#onChange(state)
      this.#tell(ms)
    }
    policy.onBreak(() => changed('open', this.#config.open_ms))
    policy.onHalfOpen(() => changed('half-open', this.#config.open_ms))
    policy.onReset(() => changed('closed', 0))
    return policy
  }
}

/**
 * As `CircuitBreakerPolicy.toJSON` tells of a breaker that may probe: open since the epoch, and one more failure opens
 * it again.
 */
const due = (failures: number) => ({
  ownState: { value: CircuitState.Open, openedAt: 0, attemptNo: 1 },
  breakerState: failures - 1,
})
