import { expect, it } from 'vitest'
import { restartNeeded } from '../../src/config/restart.ts'
import { configSchema } from '../../src/config/schema.ts'

const config = (more: object) => configSchema.parse({ tenants: [{ name: 'acme', candidates: ['default'] }], ...more })

it('names what a reload can’t change, and no value of it', () => {
  const started = config({ identity: { secret: 'a-secret-that-nobody-may-see' } })
  const next = config({
    server: { port: 9_000, max_queue: 7 },
    store: { kind: 'sqlite', path: 'elsewhere.db' },
    identity: { secret: 'another-secret-that-nobody-may-see' },
    metrics: { enabled: false },
  })
  expect(restartNeeded(started, next)).toEqual(['server.port', 'store', 'identity.secret'])
  expect(restartNeeded(started, started)).toEqual([])
})
