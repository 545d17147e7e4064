import { createHash } from 'node:crypto'
import type { Policy } from '../policy.ts'
import type { Router } from '../router.ts'

/** What one request is served with. Taken once, at its start: a swap in between changes nothing for it. */
export interface PolicySnapshot {
  /** Null while there is no good artifact: then `fallback` chooses. */
  policy: Policy | null
  arm: 'live' | 'canary'
  /** Scores beside it and is recorded. */
  shadow: Policy | null
  fallback: Router
}

export interface Canary {
  policy: Policy
  share: number
}

export interface PolicySetStatus {
  policy: string
  device: string | null
  /** Why not CUDA, where it was wanted. */
  deviceNote: string | null
  shadow: string | null
  canary: { policy: string; share: number } | null
  /** Versions that `rollback` can go back to, the latest first. */
  previous: readonly string[]
  /** What is configured and was refused, and why; null where nothing was. */
  error: string | null
}

export type Role = 'artifact' | 'shadow' | 'canary'

/** Kept in memory for a rollback, besides what serves. */
const KEPT_VERSIONS = 3

/** The policies of one audience: of everybody, or of one tenant that has its own. */
export class PolicySet {
  readonly #fallback: Router
  readonly #everyone: PolicySet | null
  readonly #previous: Policy[] = []
  readonly #refused = new Map<Role, string>()
  #own: Policy | null = null
  shadow: Policy | null = null
  canary: Canary | null = null

  /** @param everybody whose artifact serves while there is none of its own; null: this is everybody's */
  constructor(fallback: Router, everybody: PolicySet | null = null) {
    this.#fallback = fallback
    this.#everyone = everybody
  }

  get own(): Policy | null {
    return this.#own
  }

  get live(): Policy | null {
    return this.#own ?? this.#everyone?.live ?? null
  }

  /** Whether anything in it differs from everybody's. */
  get isOwn(): boolean {
    return this.#own !== null || this.shadow !== null || this.canary !== null || this.error !== null
  }

  get error(): string | null {
    return this.#refused.size > 0 ? [...new Set(this.#refused.values())].join('; ') : null
  }

  snapshot(tenant: string, user: string): PolicySnapshot {
    const inCanary = this.canary !== null && positionOf(tenant, user) < this.canary.share
    return {
      policy: inCanary ? (this.canary?.policy ?? null) : this.live,
      arm: inCanary ? 'canary' : 'live',
      shadow: this.shadow,
      fallback: this.#fallback,
    }
  }

  /** What was live before is kept. */
  makeLive(policy: Policy): void {
    const old = this.live
    this.#own = policy
    const kept = [...(old ? [old] : []), ...this.#previous].filter(({ version }) => version !== policy.version)
    this.#previous.splice(0, this.#previous.length, ...kept.slice(0, KEPT_VERSIONS))
  }

  kept(version: string): Policy | undefined {
    return this.#previous.find((one) => one.version === version)
  }

  /** Everybody's artifact serves again. */
  followEverybody(): void {
    this.#own = null
    this.#previous.length = 0
  }

  /** @param why null: what is configured is there, or nothing is configured any more */
  note(role: Role, why: string | null): void {
    if (why === null) this.#refused.delete(role)
    else this.#refused.set(role, why)
  }

  serving(): Policy[] {
    return [this.live, this.shadow, this.canary?.policy ?? null].filter((policy) => policy !== null)
  }

  all(): Policy[] {
    return [...this.serving(), ...this.#previous]
  }

  status(): PolicySetStatus {
    const live = this.live
    return {
      policy: live?.version ?? this.#fallback.version,
      device: live?.router.device ?? null,
      deviceNote: live?.router.artifact.deviceNote ?? null,
      shadow: this.shadow?.version ?? null,
      canary: this.canary && { policy: this.canary.policy.version, share: this.canary.share },
      previous: this.#previous.map(({ version }) => version),
      error: this.error,
    }
  }
}

/** Where a user stands between 0 and 1: always the same, and spread evenly. */
function positionOf(tenant: string, user: string): number {
  return createHash('sha256').update(`${tenant}\0${user}`).digest().readUInt32LE(0) / 2 ** 32
}
