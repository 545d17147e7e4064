import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import type { Store } from '../store/store.ts'
import { fail } from './fail.ts'

const OPERATOR_TIMEOUT_MS = 1_000

/** Opens the configured store for one command. @throws ConfigError, StoreError */
export async function withStore(
  configPath: string,
  work: (store: Store, config: Config) => Promise<void>,
): Promise<void> {
  const { config } = loadConfig(configPath)
  const { openStore } = await import('../store/index.ts')
  // An operator waits longer than a request does.
  const store = await openStore(
    'command_timeout_ms' in config.store ? { ...config.store, command_timeout_ms: OPERATOR_TIMEOUT_MS } : config.store,
  )
  try {
    await work(store, config)
  } finally {
    await store.close()
  }
}

/** A misspelt tenant would read as one without data. */
export function checkTenant({ tenants }: Config, name: string | undefined): void {
  if (name === undefined || tenants.some((tenant) => tenant.name === name)) return
  fail(`There is no tenant '${name}'; there are: ${tenants.map((tenant) => tenant.name).join(', ')}.`)
}
