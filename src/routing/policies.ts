import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Candidate } from '../candidate.ts'
import type { RouterConfig } from '../config.ts'
import type { Logger } from '../observability/logger.ts'
import type { Evidence } from '../store/store.ts'
import { type Artifact, ArtifactError, loadArtifact } from './artifact.ts'
import { watchArtifact } from './artifact-watch.ts'
import { pooledEvidence } from './evidence.ts'
import { checkEmbedder } from './golden.ts'
import { GraphRouter } from './graph-router.ts'
import type { Policy, PolicyEmbedder } from './policy.ts'
import { type Router, RouterError } from './router.ts'
import { StaticRouter } from './static-router.ts'

export interface PoliciesOptions {
  config: RouterConfig
  /** Opens the embedder that belongs to an artifact. */
  openEmbedder: (artifact: Artifact) => Promise<PolicyEmbedder>
  loadEvidence: (tenant: string, policy: string) => Promise<Evidence>
  log: Logger
  /** Called for each load: for a metric. */
  onLoad?: (result: 'ok' | 'refused') => void
}

/** What one request is served with. Taken once, at its start: a swap in between changes nothing for it. */
export interface PolicySnapshot {
  /** Null while there is no good artifact: then `fallback` chooses. */
  policy: Policy | null
  arm: 'live' | 'canary'
  /** Scores beside it and is recorded. */
  shadow: Policy | null
  fallback: Router
}

export interface PoliciesStatus {
  policy: string
  device: string | null
  /** Why not CUDA, where it was wanted. */
  deviceNote: string | null
  shadow: string | null
  canary: { policy: string; share: number } | null
  /** Versions that `rollback` can go back to, the latest first. */
  previous: readonly string[]
  /** Why the last load was refused; null when it was not. */
  error: string | null
}

/** Kept in memory for a rollback, besides what serves. */
const KEPT_VERSIONS = 3

/** A store that is away must not keep a gateway from starting. */
const WARM_WITHIN_MS = 1_000
/** Requests that began with a policy have ended with it after this time. */
const GRACE_MS = 60_000

/** Which policy serves whom. Artifacts are loaded and checked aside, and swapped in as a whole; a bad one changes nothing. */
export class Policies {
  readonly #options: PoliciesOptions
  readonly #fallback: Router
  #config: RouterConfig
  readonly #previous: Policy[] = []
  #live: Policy | null = null
  #shadow: Policy | null = null
  #canary: { policy: Policy; share: number } | null = null
  #error: string | null = null
  #busy: Promise<unknown> = Promise.resolve()
  #stopWatching: () => void = () => {}

  private constructor(options: PoliciesOptions) {
    this.#options = options
    this.#config = options.config
    this.#fallback = new StaticRouter(options.config.fallback)
  }

  /** @throws ArtifactError where the artifact is bad and `required` */
  static async open(options: PoliciesOptions): Promise<Policies> {
    const policies = new Policies(options)
    const { artifact, shadow, canary, required } = options.config
    try {
      await policies.reload(artifact)
    } catch (error) {
      if (required) throw error
    }
    await policies.setShadow(shadow ?? null).catch(() => {})
    await policies.setCanary(canary ?? null).catch(() => {})
    policies.#watch()
    return policies
  }

  /** For one request of this user. */
  snapshot(tenant: string, user: string): PolicySnapshot {
    const inCanary = this.#canary !== null && positionOf(tenant, user) < this.#canary.share
    return {
      policy: inCanary ? (this.#canary?.policy ?? null) : this.#live,
      arm: inCanary ? 'canary' : 'live',
      shadow: this.#shadow,
      fallback: this.#fallback,
    }
  }

  /**
   * Loads an artifact aside and makes it live.
   *
   * @param directory the configured one where left out
   * @returns its version
   * @throws ArtifactError; what was live stays live
   */
  reload(directory = this.#config.artifact): Promise<string> {
    return this.#alone(async () => {
      const policy = await this.#load(directory)
      if (policy === this.#live) return policy.version
      if (this.#live) await policy.router.llms.warmLike(this.#live.router.llms)
      this.#makeLive(policy)
      return policy.version
    })
  }

  /**
   * Goes back to a version that was live since the start.
   *
   * @throws ArtifactError where it is not kept
   */
  rollback(version: string): Promise<string> {
    return this.#alone(async () => {
      const policy = this.#previous.find((kept) => kept.version === version)
      if (!policy) throw new ArtifactError('manifest', `version ${version} is not kept: load its directory instead`)
      this.#makeLive(policy)
      return version
    })
  }

  /** @throws ArtifactError; the old one stays */
  setShadow(directory: string | null): Promise<void> {
    return this.#alone(async () => {
      this.#shadow = directory === null ? null : await this.#load(directory)
    })
  }

  /** @throws ArtifactError; the old one stays */
  setCanary(canary: RouterConfig['canary'] | null): Promise<void> {
    return this.#alone(async () => {
      this.#canary = canary ? { policy: await this.#load(canary.artifact), share: canary.share } : null
    })
  }

  /** Takes in what a new configuration changes of what serves. Never fails: a bad artifact is refused as ever, and the old one stays. */
  async configure({ artifact, shadow, canary }: RouterConfig): Promise<void> {
    const old = this.#config
    this.#config = { ...old, artifact, shadow, canary }
    if (artifact !== old.artifact) {
      this.#watch()
      await this.reload().catch(() => {})
    }
    if (shadow !== old.shadow) await this.setShadow(shadow ?? null).catch(() => {})
    if (JSON.stringify(canary) !== JSON.stringify(old.canary)) await this.setCanary(canary ?? null).catch(() => {})
  }

  /**
   * Computes what tenants' first requests would wait for, and forgets candidates that are no longer theirs: call it with every new
   * configuration. Never fails: what is not ready is computed when it is asked for.
   */
  async warm(tenants: Iterable<{ name: string; candidates: readonly Candidate[] }>): Promise<void> {
    const tables = [...tenants].flatMap(({ name, candidates }) =>
      this.#serving().map(async ({ router: { llms } }) => {
        await llms.table(name, candidates)
        llms.keepOnly(name, candidates)
      }),
    )
    const ready = Promise.allSettled(tables)
    await Promise.race([ready, sleep(WARM_WITHIN_MS, undefined, { ref: false })])
  }

  /** Another process, or this one, added to a tenant's outcomes. */
  refreshEvidence(tenant: string): void {
    for (const policy of this.#all()) policy.router.llms.refreshSoon(tenant)
  }

  status(): PoliciesStatus {
    const live = this.#live
    return {
      policy: live?.version ?? this.#fallback.version,
      device: live?.router.device ?? null,
      deviceNote: live?.router.artifact.deviceNote ?? null,
      shadow: this.#shadow?.version ?? null,
      canary: this.#canary && { policy: this.#canary.policy.version, share: this.#canary.share },
      previous: this.#previous.map(({ version }) => version),
      error: this.#error,
    }
  }

  close(): void {
    this.#stopWatching()
    for (const policy of this.#all()) letGo(policy)
  }

  #watch(): void {
    this.#stopWatching()
    if (!this.#config.watch) return
    this.#stopWatching = watchArtifact(this.#config.artifact, this.#options.log, async () => {
      await this.reload().catch(() => {})
    })
  }

  #makeLive(policy: Policy): void {
    const old = this.#live
    this.#live = policy
    const kept = [...(old ? [old] : []), ...this.#previous].filter(({ version }) => version !== policy.version)
    this.#previous.splice(0, this.#previous.length, ...kept.slice(0, KEPT_VERSIONS))
    const dropped = kept.slice(KEPT_VERSIONS).filter((one) => !this.#all().includes(one))
    for (const one of dropped) setTimeout(() => letGo(one), GRACE_MS).unref()
    this.#options.log.info(
      { policy: policy.version, device: policy.router.device, from: old?.version ?? null },
      'policy live',
    )
  }

  async #load(directory: string): Promise<Policy> {
    const { openEmbedder, loadEvidence, log, onLoad } = this.#options
    const config = this.#config
    try {
      const artifact = await loadArtifact(directory, config.device)
      const known = this.#all().find(({ version }) => version === artifact.version)
      if (known && !sameFiles(known.router.artifact, artifact)) {
        throw new ArtifactError('manifest', `another artifact has the version ${artifact.version} already`)
      }
      if (known) artifact.release()
      const policy = known ?? (await openPolicy(artifact, { config, openEmbedder, loadEvidence, log }))
      this.#error = null
      onLoad?.('ok')
      return policy
    } catch (error) {
      const refused = asArtifactError(error)
      this.#error = refused.message
      onLoad?.('refused')
      log.error({ directory, check: refused.check, reason: refused.message }, 'artifact refused')
      throw refused
    }
  }

  #serving(): Policy[] {
    return [this.#live, this.#shadow, this.#canary?.policy ?? null].filter((policy) => policy !== null)
  }

  #all(): Policy[] {
    return [...new Set([...this.#serving(), ...this.#previous])]
  }

  /** One change at a time, in the order they were asked for. */
  #alone<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#busy.then(task)
    this.#busy = result.catch(() => {})
    return result
  }
}

function letGo({ router, embedder }: Policy): void {
  router.llms.close()
  router.artifact.release()
  embedder.close?.().catch(() => {})
}

/** Users' states are kept by version: it must mean one thing. */
const sameFiles = (a: Artifact, b: Artifact) =>
  JSON.stringify(Object.entries(a.manifest.files).sort()) === JSON.stringify(Object.entries(b.manifest.files).sort())

async function openPolicy(
  artifact: Artifact,
  {
    config,
    openEmbedder,
    loadEvidence,
    log,
  }: Pick<PoliciesOptions, 'config' | 'openEmbedder' | 'loadEvidence' | 'log'>,
): Promise<Policy> {
  const embedder = await openEmbedder(artifact)
  await checkEmbedder(embedder, artifact.manifest.embedder, artifact.golden)
  const router = await GraphRouter.open({
    artifact,
    embed: (text) => embedder.embed(text),
    loadEvidence: async (tenant) =>
      pooledEvidence(await loadEvidence(tenant, artifact.version), config.shared_after_users),
    deadlineMs: config.deadline_ms,
    log,
  })
  return { version: artifact.version, router, embedder }
}

function asArtifactError(error: unknown): ArtifactError {
  if (error instanceof ArtifactError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ArtifactError(error instanceof RouterError ? 'graph' : 'embedder', message, error)
}

/** Where a user stands between 0 and 1: always the same, and spread evenly. */
function positionOf(tenant: string, user: string): number {
  return createHash('sha256').update(`${tenant}\0${user}`).digest().readUInt32LE(0) / 2 ** 32
}
