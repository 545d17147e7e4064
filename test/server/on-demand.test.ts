import { expect, test, vi } from 'vitest'
import { createMetrics } from '../../src/observability/metrics.ts'
import { type AppDeps, createApp } from '../../src/server/app.ts'
import { silent } from '../routing/support.ts'

/** How often the operator's routes could not be loaded: as by a process that has no file descriptor left. */
const failing = vi.hoisted(() => ({ times: 0 }))
vi.mock('../../src/api/admin.ts', async (original) => {
  const real = await original<typeof import('../../src/api/admin.ts')>()
  return {
    ...real,
    admin: (deps: AppDeps) => {
      if (failing.times-- > 0) throw new Error('too many open files')
      return real.admin(deps)
    },
  }
})

test('routes that could not be loaded once are loaded by the next request', async () => {
  const deps = {
    snapshot: () => ({ config: { admin: {} } }),
    store: {},
    metrics: createMetrics(),
    log: silent,
  } as unknown as AppDeps
  const app = createApp(deps)
  failing.times = 1
  const asked = [await app.request('/admin/status'), await app.request('/admin/status')]
  // Without a key for them the routes say that there are none.
  expect(asked.map(({ status }) => status)).toEqual([500, 404])
})
