import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
} from 'cockatiel'
import type { Candidate } from '../../candidates/candidate.ts'
import type { RetriesConfig } from '../../config/schema.ts'

export type BreakerState = 'closed' | 'open' | 'half-open'

/** What a breaker sees of one try. */
export interface Outcome {
  /** The deployment is at fault; false for answers, the client's own mistakes included. */
  deploymentFailed: boolean
}

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

  /** @param tell what the other replicas should hear through `hear`: leave it alone for `ms`; 0: it is well */
  constructor(
    config: RetriesConfig['breaker'],
    onChange?: (deployment: string, state: BreakerState) => void,
    tell?: (deployment: string, ms: number) => void,
  ) {
    this.#config = config
    this.#onChange = onChange
    this.#tell = tell
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
 * cockatiel's consecutive breaker, on a monotonic clock (its own reads the wall clock, and a jump back would keep it
 * open for as long), and without a queue: while the one probe of a half-open breaker is out, others are turned away and
 * go to the next candidate.
 */
export class Breaker {
  readonly #config: RetriesConfig['breaker']
  readonly #onChange: (state: BreakerState) => void
  readonly #tell: (ms: number) => void
  #policy: CircuitBreakerPolicy
  #openUntil = Number.NEGATIVE_INFINITY
  #openedAt = Number.NEGATIVE_INFINITY
  /** Opened on another replica's word. */
  #isHeld = false

  constructor(
    config: RetriesConfig['breaker'],
    onChange: (state: BreakerState) => void,
    tell: (ms: number) => void = () => {},
  ) {
    this.#config = config
    this.#onChange = onChange
    this.#tell = tell
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

  /** Runs one try. A throw counts neither way (the client left). Call only while `isOpen` is false. */
  run<T extends Outcome>(attempt: () => Promise<T>): Promise<T> {
    if (this.#policy.state !== CircuitState.Open) return this.#policy.execute(attempt)
    this.#policy = this.#createPolicy(due(this.#config.failures))
    return this.#probe(this.#policy, attempt)
  }

  #probe<T extends Outcome>(policy: CircuitBreakerPolicy, attempt: () => Promise<T>): Promise<T> {
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
    const policy = circuitBreaker(
      handleWhenResult((result) => (result as Outcome).deploymentFailed),
      {
        halfOpenAfter: this.#config.open_ms,
        breaker: new ConsecutiveBreaker(this.#config.failures),
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
