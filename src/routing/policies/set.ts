import { createHash } from 'node:crypto'
import { userKey } from '../../runtime/keys.ts'
import type { Policy } from '../policy.ts'
import type { Router } from '../router.ts'

/** Policies of one request, taken at its start: a later swap does not affect it. */
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
  /** Why CUDA is not used, where it was wanted. */
  deviceNote: string | null
  shadow: string | null
  canary: { policy: string; share: number } | null
  /** Versions that `rollback` can go back to, the latest first. */
  previous: readonly string[]
  /** Configured artifacts that were refused, and why; null where none was. */
  error: string | null
}

export type Role = 'artifact' | 'shadow' | 'canary'

/** Versions kept in memory for a rollback, besides those that serve. */
const KEPT_VERSIONS = 3

/** The policies of one audience: the default one, or one tenant with artifacts of its own. */
export class PolicySet {
  readonly #fallback: Router
  readonly #shared: PolicySet | null
  readonly #previous: Policy[] = []
  readonly #refused = new Map<Role, string>()
  #own: Policy | null = null
  shadow: Policy | null = null
  canary: Canary | null = null

  /** @param shared the default audience's set, which serves while this one has no artifact; null: this is it */
  constructor(fallback: Router, shared: PolicySet | null = null) {
    this.#fallback = fallback
    this.#shared = shared
  }

  get own(): Policy | null {
    return this.#own
  }

  get live(): Policy | null {
    return this.#own ?? this.#shared?.live ?? null
  }

  /** Whether it differs from the default audience's. */
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

  /** Keeps the version that was live before for a rollback. */
  makeLive(policy: Policy): void {
    const old = this.live
    this.#own = policy
    const kept = [...(old ? [old] : []), ...this.#previous].filter(({ version }) => version !== policy.version)
    this.#previous.splice(0, this.#previous.length, ...kept.slice(0, KEPT_VERSIONS))
  }

  kept(version: string): Policy | undefined {
    return this.#previous.find((one) => one.version === version)
  }

  /** Goes back to the default audience's artifact. */
  followShared(): void {
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

/** Position of a user between 0 and 1: stable and evenly spread. */
function positionOf(tenant: string, user: string): number {
  return createHash('sha256').update(userKey(tenant, user)).digest().readUInt32LE(0) / 2 ** 32
}
