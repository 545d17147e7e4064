import type { Candidate } from '../../candidates/candidate.ts'
import type { RetriesConfig } from '../../config/schema.ts'

export type BreakerState = 'closed' | 'open' | 'half-open'

/** What a breaker sees of one try. */
export interface Outcome {
  /** The deployment is at fault; false for answers, the client's own mistakes included. */
  deploymentFailed: boolean
}

/**
 * One breaker a deployment: a provider's model. Several candidates may share one. Each process has its own: what one
 * can't reach, another may (docs/profile.md).
 */
export class Breakers {
  readonly #config: RetriesConfig['breaker']
  readonly #breakers = new Map<string, Breaker>()
  /** Of all that may answer each request asks: without putting their names together. */
  readonly #ofCandidates = new WeakMap<Candidate, Breaker>()
  readonly #onChange: ((deployment: string, state: BreakerState) => void) | undefined

  constructor(config: RetriesConfig['breaker'], onChange?: (deployment: string, state: BreakerState) => void) {
    this.#config = config
    this.#onChange = onChange
  }

  of(candidate: Candidate): Breaker {
    let breaker = this.#ofCandidates.get(candidate)
    if (!breaker) {
      breaker = this.#named(deploymentOf(candidate))
      this.#ofCandidates.set(candidate, breaker)
    }
    return breaker
  }

  #named(deployment: string): Breaker {
    let breaker = this.#breakers.get(deployment)
    if (!breaker) {
      breaker = new Breaker(this.#config, (state) => this.#onChange?.(deployment, state))
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

/**
 * Opens after so many failures in a row, for so long; then one try probes, and while it is out others are turned away
 * and go to the next candidate. Times are of a monotonic clock: the wall clock may jump.
 */
export class Breaker {
  readonly #config: RetriesConfig['breaker']
  readonly #onChange: (state: BreakerState) => void
  /** `half-open` while a probe is out. */
  #state: BreakerState = 'closed'
  #failures = 0
  #openUntil = Number.NEGATIVE_INFINITY
  /** Changes so far: a try that began before the last one ends unheard. */
  #changes = 0

  constructor(config: RetriesConfig['breaker'], onChange: (state: BreakerState) => void) {
    this.#config = config
    this.#onChange = onChange
  }

  get state(): BreakerState {
    return this.#state === 'open' && this.remainingMs === 0 ? 'half-open' : this.#state
  }

  /** Whether a request would be turned away now. */
  get isOpen(): boolean {
    return this.#state === 'half-open' || (this.#state === 'open' && this.remainingMs > 0)
  }

  /** Milliseconds until it is worth asking again. */
  get remainingMs(): number {
    return Math.max(0, this.#openUntil - performance.now())
  }

  /** Runs one try. A throw counts neither way (the client left). Call only while `isOpen` is false. */
  async run<T extends Outcome>(attempt: () => Promise<T>): Promise<T> {
    if (this.#state === 'open') this.#become('half-open')
    const changes = this.#changes
    try {
      const outcome = await attempt()
      if (changes === this.#changes) this.#count(outcome.deploymentFailed)
      return outcome
    } catch (error) {
      // A probe that says nothing: the next try is one, too.
      if (changes === this.#changes && this.#state === 'half-open') this.#state = 'open'
      throw error
    }
  }

  #count(failed: boolean): void {
    if (!failed) {
      this.#failures = 0
      if (this.#state === 'half-open') this.#become('closed')
    } else if (++this.#failures >= this.#config.failures || this.#state === 'half-open') {
      this.#openUntil = performance.now() + this.#config.open_ms
      this.#become('open')
    }
  }

  #become(state: BreakerState): void {
    this.#state = state
    this.#changes++
    this.#onChange(state)
  }
}
