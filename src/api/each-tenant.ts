import { StoreError } from '../store/store.ts'

/** A tenant of whom nothing could be told, since their part of the store is away. */
export interface Missing {
  tenant: string
  reason: string
}

/** Each reads rows into memory; and one that hangs takes its time. */
const AT_ONCE = 16

/**
 * Does something for each tenant, some at once. Of a cluster one tenant's part may be away by itself: the others'
 * results come all the same, in the order of tenants, and that tenant is named.
 *
 * @throws StoreError where it is away for all of them
 */
export async function eachTenant<T>(
  tenants: readonly string[],
  work: (tenant: string) => Promise<T>,
): Promise<{ results: T[]; missing: Missing[] }> {
  const done = new Map<string, T>()
  const failures = new Map<string, StoreError>()
  const left = tenants.values()
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (const tenant of left) {
      try {
        done.set(tenant, await work(tenant))
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        failures.set(tenant, error)
      }
    }
  })
  await Promise.all(workers)
  const [failure] = failures.values()
  if (done.size === 0 && failure) throw failure
  return {
    results: tenants.flatMap((tenant) => (done.has(tenant) ? [done.get(tenant) as T] : [])),
    missing: tenants.flatMap((tenant) => {
      const reason = failures.get(tenant)?.message
      return reason === undefined ? [] : [{ tenant, reason }]
    }),
  }
}

/** As answers tell it: not at all where nothing is missing. */
export const toldMissing = (missing: readonly Missing[]) => (missing.length > 0 ? { missing } : {})
