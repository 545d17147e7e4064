import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import type { BackupStore } from '../store/backup/contract.ts'
import { StoreError, WHY_PASSED_BY } from '../store/store.ts'
import { CliError, fail } from './fail.ts'

const OPERATOR_TIMEOUT_MS = 1_000

/** An operator waits longer than a request does. */
export const patient = (store: Config['store']): Config['store'] =>
  store.kind === 'redis' ? { ...store, command_timeout_ms: OPERATOR_TIMEOUT_MS } : store

/** Opens the configured store for one command. @throws ConfigError, StoreError */
export async function withStore(
  configPath: string,
  work: (store: BackupStore, config: Config) => Promise<void>,
): Promise<void> {
  const { config } = loadConfig(configPath)
  const { openStore } = await import('../store/index.ts')
  let passedBy = 0
  const store = await openStore(patient(config.store), 1, {
    passedBy: (_, rows) => {
      passedBy += rows
    },
  })
  try {
    await work(store, config)
  } catch (error) {
    throw error instanceof StoreError ? new CliError(`${placeOf(config)}: ${error.message}`) : error
  } finally {
    await store.close()
    if (passedBy > 0) console.error(`${passedBy} rows of the log were passed by: ${WHY_PASSED_BY}.`)
  }
}

/** Where the store is, without user and password. */
function placeOf({ store }: Config): string {
  if (store.kind === 'sqlite') return store.path
  if (store.cluster) return `Redis Cluster ${store.cluster.join(', ')}`
  if (store.sentinel) return `Redis '${store.sentinel.name}' of ${store.sentinel.nodes.join(', ')}`
  const { protocol, host, pathname } = new URL(store.url ?? '')
  return `${protocol}//${host}${pathname}`
}

/** A misspelt tenant would read as one without data. */
export function checkTenant({ tenants }: Config, name: string | undefined): void {
  if (name === undefined || tenants.some((tenant) => tenant.name === name)) return
  fail(`There is no tenant '${name}'; there are: ${tenants.map((tenant) => tenant.name).join(', ')}.`)
}
