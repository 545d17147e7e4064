import type { Candidate } from '../candidates/candidate.ts'
import { type CandidateList, type CandidateOff, listCandidates } from '../candidates/catalogue.ts'
import { type EmbeddingModel, listEmbeddingModels } from '../candidates/embedding-models.ts'
import { type PriceList, readPrices } from '../candidates/price-list.ts'
import type { CandidateConfig } from '../candidates/schema.ts'
import { type EmptyEntry, emptyEntries, resolveTenants, type Tenant } from '../candidates/tenants.ts'
import { type Discovered, discover } from '../providers/discover.ts'
import { builtInCandidates, kindOf } from '../providers/kind-schemas.ts'
import { openProviders } from '../providers/kinds.ts'
import type { Provider } from '../providers/provider.ts'
import type { Config } from './schema.ts'

/** One configuration, resolved. A request keeps the one that it began with; a reload swaps the whole. */
export interface Snapshot {
  config: Config
  providers: ReadonlyMap<string, Provider>
  candidates: readonly Candidate[]
  /** Candidates and providers that can't be used, and why. */
  off: readonly CandidateOff[]
  tenants: ReadonlyMap<string, Tenant>
  embeddingModels: readonly EmbeddingModel[]
  prices: PriceList
  /** Names and groups in tenants' lists that match no usable candidate. */
  empty: readonly EmptyEntry[]
}

/**
 * Opens the providers of a configuration, asks local servers for their models, and resolves tenants.
 *
 * @param asks false asks no server
 * @throws PriceFileError
 */
export async function makeSnapshot(config: Config, { asks = true }: { asks?: boolean } = {}): Promise<Snapshot> {
  const prices = readPrices(config.catalogue.file)
  const providers = openProviders(config)
  const { candidates: discovered, failed } = asks ? await discover(config, providers) : NOTHING_LISTED
  const { candidates, off } = candidatesOf(
    config,
    providers,
    [...builtInCandidates(config.providers), ...discovered],
    prices,
  )
  const embeddingModels = listEmbeddingModels(config, unavailableOf(providers))
  const empty = emptyEntries(config, [...candidates, ...embeddingModels.map(({ candidate }) => candidate)])
  return {
    config,
    providers,
    candidates,
    off: [
      ...off,
      ...[...failed].map(([name, why]) => ({ name, why })),
      ...empty.map(({ tenant, wanted }) => ({ name: `tenant ${tenant}: ${wanted}`, why: 'no usable candidate' })),
    ],
    tenants: resolveTenants(config, candidates),
    embeddingModels,
    prices,
    empty,
  }
}

const NOTHING_LISTED: Discovered = { candidates: [], failed: new Map() }

const unavailableOf = (providers: ReadonlyMap<string, Provider>) =>
  new Map([...providers].map(([name, provider]) => [name, provider.unavailable]))

/** Leaves out candidates of a stand-in provider where there are others. */
function candidatesOf(
  config: Config,
  providers: ReadonlyMap<string, Provider>,
  more: readonly CandidateConfig[],
  prices: PriceList,
): CandidateList {
  const all = listCandidates(config, unavailableOf(providers), more, prices)
  const isStandIn = ({ provider }: Candidate) => {
    const entry = config.providers[provider]
    return entry !== undefined && kindOf(entry).isStandIn?.(entry)
  }
  const real = all.candidates.filter((candidate) => !isStandIn(candidate))
  return real.length > 0 ? { candidates: real, off: all.off } : all
}

export async function closeSnapshot(snapshot: Snapshot): Promise<void> {
  await Promise.all([...snapshot.providers.values()].map((provider) => provider.close()))
}
