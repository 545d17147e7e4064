import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Candidate } from '../../candidates/candidate.ts'
import type { RouterConfig } from '../../config/schema.ts'
import { notFound } from '../../errors.ts'
import type { Logger } from '../../observability/logger.ts'
import { watchFiles } from '../../runtime/watch.ts'
import { SIGNATURE_FILE } from '../artifact/signature.ts'
import type { Policy } from '../policy.ts'
import { StaticRouter } from '../static-router.ts'
import { type LoaderOptions, PolicyLoader } from './loader.ts'
import { PolicySet, type PolicySetStatus, type PolicySnapshot, type Role } from './set.ts'
import { DEFAULT_AUDIENCE, type TenantPolicies, type WantedPolicies, wantedPolicies } from './wanted.ts'

export type { PolicySnapshot } from './set.ts'

export interface PoliciesOptions extends LoaderOptions {
  /** Tenants may have policies of their own. */
  tenants?: Iterable<TenantPolicies>
}

export interface PoliciesStatus extends PolicySetStatus {
  /** Versions by tenant, of tenants with an artifact of their own. */
  tenants: Record<string, PolicySetStatus>
}

/** A store that is away must not keep a gateway from starting. */
const WARM_WITHIN_MS = 1_000

/**
 * The policy of each tenant and user. Artifacts are loaded and checked aside, and swapped in whole; a bad one changes
 * nothing.
 */
export class Policies {
  readonly #loader: PolicyLoader
  readonly #log: Logger
  readonly #watch: boolean
  readonly #shared: PolicySet
  readonly #newSet: () => PolicySet
  readonly #tenants = new Map<string, PolicySet>()
  readonly #watching = new Map<string, { directory: string; stop: () => void }>()
  #wanted: ReadonlyMap<string, WantedPolicies> = new Map()
  #busy: Promise<unknown> = Promise.resolve()

  private constructor(options: PoliciesOptions) {
    const fallback = new StaticRouter(options.config.fallback)
    this.#loader = new PolicyLoader(options)
    this.#log = options.log
    this.#watch = options.config.watch
    this.#shared = new PolicySet(fallback)
    this.#newSet = () => new PolicySet(fallback, this.#shared)
  }

  /** @throws ArtifactError where the shared artifact is bad and `required` */
  static async open(options: PoliciesOptions): Promise<Policies> {
    const policies = new Policies(options)
    try {
      await policies.configure(options.config, options.tenants ?? [])
      // Again, for the error that says what is wrong with it.
      if (options.config.required && !policies.#shared.live) await policies.reload()
    } catch (error) {
      await policies.close()
      throw error
    }
    return policies
  }

  /** For one request of this user. */
  snapshot(tenant: string, user: string): PolicySnapshot {
    return this.#servingSet(tenant).snapshot(tenant, user)
  }

  /** The audience of a tenant: its name where it has policies of its own, else `DEFAULT_AUDIENCE`. */
  audienceOf(tenant: string): string {
    return this.#servingSet(tenant) === this.#shared ? DEFAULT_AUDIENCE : tenant
  }

  /**
   * Loads an artifact aside and makes it live, for all tenants without one of their own or for one tenant.
   *
   * @param directory the configured one where left out
   * @returns its version
   * @throws ArtifactError; what was live stays live
   * @throws GatewayError 404 for an unknown tenant
   */
  reload(directory?: string, tenant = DEFAULT_AUDIENCE): Promise<string> {
    return this.#alone(async () => {
      const set = this.#setOf(tenant)
      const policy = await this.#loader.load(directory ?? this.#wanted.get(tenant)?.artifact ?? '').catch((error) => {
        // An artifact named by an operator need not be looked for; a configured one is, until it is there.
        if (directory === undefined) set.note('artifact', error.message)
        throw error
      })
      await this.#makeLive(tenant, set, policy)
      return policy.version
    })
  }

  /**
   * Goes back to a version that was live since the start.
   *
   * @throws GatewayError 404 where it is not kept
   */
  rollback(version: string, tenant = DEFAULT_AUDIENCE): Promise<string> {
    return this.#alone(async () => {
      const set = this.#setOf(tenant)
      const policy = set.kept(version)
      if (!policy) {
        const kept = set.status().previous.join(', ') || 'none'
        const message = `Version ${version} is not kept; kept: ${kept}. Load its directory instead.`
        throw notFound(message, 'artifact_not_found', 'version')
      }
      await this.#makeLive(tenant, set, policy)
      return version
    })
  }

  /**
   * Applies the artifacts of a configuration. Never fails: a bad artifact is refused, and the one before it stays.
   */
  configure(router: RouterConfig, tenants: Iterable<TenantPolicies> = []): Promise<void> {
    return this.#alone(async () => {
      const [old, wanted] = [this.#wanted, wantedPolicies(router, tenants)]
      this.#wanted = wanted
      for (const name of this.#tenants.keys()) if (!wanted.has(name)) this.#tenants.delete(name)
      const load = once((directory) => this.#loader.load(directory))
      for (const [name, next] of wanted) {
        if (name !== DEFAULT_AUDIENCE && !this.#tenants.has(name)) this.#tenants.set(name, this.#newSet())
        await this.#take(name, next, old.get(name) ?? NOTHING, load)
      }
      this.#follow()
      this.#release()
    })
  }

  /**
   * Computes what tenants' first requests would wait for, and drops candidates that are no longer theirs; to be called
   * with each new configuration. Never fails: the rest is computed on demand.
   */
  async warm(tenants: Iterable<{ name: string; candidates: readonly Candidate[] }>): Promise<void> {
    const tables = [...tenants].flatMap(({ name, candidates }) =>
      this.#servingSet(name)
        .serving()
        .map(async ({ router: { llms } }) => {
          await llms.table(name, candidates)
          llms.keepOnly(name, candidates)
        }),
    )
    const ready = Promise.allSettled(tables)
    await Promise.race([ready, sleep(WARM_WITHIN_MS, undefined, { ref: false })])
  }

  /** Of all artifacts that are loaded. */
  versions(): string[] {
    return [...this.#loader.loaded].map(({ version }) => version)
  }

  /** A tenant's outcomes have changed, by this process or another. */
  refreshEvidence(tenant: string): void {
    for (const policy of this.#loader.loaded) policy.router.llms.refreshSoon(tenant)
  }

  status(): PoliciesStatus {
    const own = [...this.#tenants].filter(([, set]) => set.isOwn)
    return {
      ...this.#shared.status(),
      tenants: Object.fromEntries(own.map(([name, set]) => [name, set.status()])),
    }
  }

  async close(): Promise<void> {
    for (const { stop } of this.#watching.values()) stop()
    this.#watching.clear()
    await this.#loader.close()
  }

  #servingSet(tenant: string): PolicySet {
    const set = this.#tenants.get(tenant)
    return set?.isOwn ? set : this.#shared
  }

  #setOf(tenant: string): PolicySet {
    const set = tenant === DEFAULT_AUDIENCE ? this.#shared : this.#tenants.get(tenant)
    if (!set) throw notFound('There is no such tenant.', 'tenant_not_found', 'tenant')
    return set
  }

  async #take(name: string, next: WantedPolicies, was: WantedPolicies, load: Load): Promise<void> {
    const set = this.#setOf(name)
    if (next.artifact !== was.artifact || next.mustExist !== was.mustExist) {
      if (!next.mustExist && !existsSync(join(next.artifact, 'manifest.json'))) set.followShared()
      else {
        const policy = await noting(set, 'artifact', () => load(next.artifact))
        if (policy) await this.#makeLive(name, set, policy)
      }
    }
    if (next.shadow !== was.shadow) {
      const { shadow } = next
      const policy = await noting(set, 'shadow', async () => (shadow === null ? null : load(shadow)))
      if (policy !== undefined) set.shadow = policy
    }
    if (!isDeepStrictEqual(next.canary, was.canary)) {
      const { canary } = next
      const policy = await noting(set, 'canary', async () => (canary === null ? null : load(canary.artifact)))
      if (policy !== undefined) set.canary = policy && canary && { policy, share: canary.share }
    }
  }

  async #makeLive(tenant: string, set: PolicySet, policy: Policy): Promise<void> {
    set.note('artifact', null)
    if (policy === set.own) return
    const { live } = set
    const { llms, device } = policy.router
    if (live) await llms.warmLike(live.router.llms, tenant === DEFAULT_AUDIENCE ? undefined : tenant)
    set.makeLive(policy)
    this.#release()
    const whose = tenant === DEFAULT_AUDIENCE ? {} : { tenant }
    this.#log.info({ ...whose, policy: policy.version, device, from: live?.version ?? null }, 'policy live')
  }

  #release(): void {
    this.#loader.keepOnly(new Set([this.#shared, ...this.#tenants.values()].flatMap((set) => set.all())))
  }

  /** Watches the configured directories from now on. */
  #follow(): void {
    for (const [name, { directory, stop }] of this.#watching) {
      if (this.#wanted.get(name)?.artifact === directory) continue
      stop()
      this.#watching.delete(name)
    }
    if (!this.#watch) return
    for (const [name, { artifact: directory }] of this.#wanted) {
      if (this.#watching.has(name)) continue
      const manifest = join(resolve(directory), 'manifest.json')
      const reload = () => {
        // A directory in the middle of a replacement is ignored.
        if (existsSync(manifest)) this.reload(undefined, name).catch(() => {})
      }
      // One that was refused may be signed where it lies.
      const stop = watchFiles(() => [manifest, join(resolve(directory), SIGNATURE_FILE)], reload)
      this.#watching.set(name, { directory, stop })
    }
  }

  /** Runs one change at a time, in the order asked for. */
  #alone<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#busy.then(task)
    this.#busy = result.catch(() => {})
    return result
  }
}

type Load = (directory: string) => Promise<Policy>

const NOTHING: WantedPolicies = { artifact: '', mustExist: false, shadow: null, canary: null }

/** Tenants may share a directory: it is read once for all of them. */
function once(load: Load): Load {
  const loads = new Map<string, Promise<Policy>>()
  return (directory) => {
    const loading = loads.get(directory) ?? load(directory)
    loads.set(directory, loading)
    return loading
  }
}

/** Notes for `status` why a configured artifact is missing. Undefined where it was refused. */
async function noting<T>(set: PolicySet, role: Role, load: () => Promise<T>): Promise<T | undefined> {
  try {
    const found = await load()
    set.note(role, null)
    return found
  } catch (error) {
    set.note(role, (error as Error).message)
    return undefined
  }
}
