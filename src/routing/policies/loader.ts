import type { RouterConfig } from '../../config/schema.ts'
import type { Embedder } from '../../embedding/embedder.ts'
import type { Logger } from '../../observability/logger.ts'
import type { Evidence } from '../../store/store.ts'
import { ArtifactError } from '../artifact/error.ts'
import { checkEmbedder } from '../artifact/golden.ts'
import { type OpenedArtifact, openArtifact } from '../artifact/load.ts'
import type { Artifact } from '../artifact/types.ts'
import { evidenceKey, evidenceRules, pooledEvidence } from '../choose/evidence.ts'
import { lengthEvidence, lengthKey, withLengths } from '../choose/length-evidence.ts'
import { GraphRouter } from '../model/graph-router.ts'
import type { CandidatesOf } from '../model/llm-states.ts'
import type { Policy } from '../policy.ts'
import { RouterError } from '../router.ts'

export interface LoaderOptions {
  config: RouterConfig
  /** Opens the embedder that belongs to an artifact. */
  openEmbedder: (artifact: Artifact) => Promise<Embedder>
  loadEvidence: (tenant: string, policy: string) => Promise<Evidence>
  candidatesOf: CandidatesOf
  log: Logger
  /** Called for each load: for a metric. */
  /** `reason`: why it was refused. */
  onLoad?: (result: 'ok' | 'refused', reason?: string) => void
}

/** Requests that began with a policy have ended with it after this time. */
const GRACE_MS = 60_000

/** Artifacts that are loaded: one policy for each version, however many tenants it serves. */
export class PolicyLoader {
  readonly #options: LoaderOptions
  readonly #loaded = new Map<string, Policy>()
  readonly #leaving = new Map<Policy, NodeJS.Timeout>()

  constructor(options: LoaderOptions) {
    this.#options = options
  }

  get loaded(): Iterable<Policy> {
    return this.#loaded.values()
  }

  /** @throws ArtifactError */
  async load(directory: string): Promise<Policy> {
    const { config, log, onLoad } = this.#options
    try {
      const opened = await openArtifact(directory, config.device, config.artifact_public_key ?? null)
      const policy = await this.#policyOf(opened)
      onLoad?.('ok')
      return policy
    } catch (error) {
      const refused = asArtifactError(error)
      onLoad?.('refused', refused.message)
      log.error({ directory, check: refused.check, reason: refused.message }, 'artifact refused')
      throw refused
    }
  }

  /** Releases all others, once requests that began with them have ended. */
  keepOnly(used: ReadonlySet<Policy>): void {
    for (const policy of this.#loaded.values()) {
      if (used.has(policy)) {
        clearTimeout(this.#leaving.get(policy))
        this.#leaving.delete(policy)
      } else if (!this.#leaving.has(policy)) {
        this.#leaving.set(policy, setTimeout(() => void this.#release(policy), GRACE_MS).unref())
      }
    }
  }

  async close(): Promise<void> {
    for (const timer of this.#leaving.values()) clearTimeout(timer)
    await Promise.all([...this.#loaded.values()].map((policy) => this.#release(policy)))
  }

  async #policyOf({ artifact, checked }: OpenedArtifact): Promise<Policy> {
    const known = this.#loaded.get(artifact.version)
    try {
      if (known && !sameFiles(known.router.artifact, artifact)) {
        throw new ArtifactError('manifest', `another artifact has the version ${artifact.version} already`)
      }
      if (!known) {
        const twin = [...this.#loaded.values()].find(({ router }) => sameEmbedder(router.artifact, artifact))
        // Whichever of the two fails first is told: what runs after a check that failed fails by that alone.
        const [policy] = await Promise.all([openPolicy(artifact, twin?.embedder ?? null, this.#options), checked])
        this.#loaded.set(policy.version, policy)
        return policy
      }
    } catch (error) {
      artifact.release()
      throw error
    }
    artifact.release()
    return known
  }

  async #release(policy: Policy): Promise<void> {
    this.#leaving.delete(policy)
    this.#loaded.delete(policy.version)
    policy.router.llms.close()
    policy.router.artifact.release()
    const isShared = [...this.#loaded.values()].some(({ embedder }) => embedder === policy.embedder)
    if (!isShared) await policy.embedder.close?.().catch(() => {})
  }
}

/** Users' states are kept by version: it must mean one thing. */
const sameFiles = (a: Artifact, b: Artifact) =>
  JSON.stringify(Object.entries(a.manifest.files).sort()) === JSON.stringify(Object.entries(b.manifest.files).sort())

/** Retraining leaves the embedder as it is: its vectors, by far the most of an artifact, are in memory once. */
const sameEmbedder = (a: Artifact, b: Artifact) => embedderKey(a) === embedderKey(b)

const embedderKey = ({ manifest: { embedder, files } }: Artifact) =>
  JSON.stringify([embedder, embedder.files.map((name) => files[name]?.sha256)])

async function openPolicy(
  artifact: Artifact,
  open: Embedder | null,
  { config, openEmbedder, loadEvidence, candidatesOf, log }: LoaderOptions,
): Promise<Policy> {
  const embedder = open ?? (await openEmbedder(artifact))
  await checkEmbedder(embedder, artifact.manifest.embedder, artifact.golden)
  const router = await GraphRouter.open({
    artifact,
    embed: (text) => embedder.embed(text),
    loadEvidence: async (tenant) => {
      const [voices, lengths] = await Promise.all([
        loadEvidence(tenant, evidenceKey(artifact.version)),
        loadEvidence(tenant, lengthKey(artifact.version)),
      ])
      const rules = evidenceRules(config)
      const now = Date.now()
      return withLengths(pooledEvidence(voices, rules, now), lengthEvidence(lengths, rules, now))
    },
    candidatesOf,
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
