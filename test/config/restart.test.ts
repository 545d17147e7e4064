import { expect, it } from 'vitest'
import { restartNeeded, restartPaths } from '../../src/config/restart.ts'
import { configJsonSchema, configSchema } from '../../src/config/schema.ts'

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

it('knows every setting that is read once, by its schema, and the schema for editors says so', () => {
  const paths = restartPaths(configSchema).map((path) => path.join('.'))
  expect(paths).toEqual(
    expect.arrayContaining([
      ...['host', 'port', 'workers', 'max_connections', 'headers_timeout_ms'].map((field) => `server.${field}`),
      ...['store', 'spool', 'identity.secret', 'retries.breaker', 'log.level'],
      ...['watch', 'device', 'embedder', 'fallback', 'shared_after_users', 'user_cache', 'judge'].map(
        (field) => `router.${field}`,
      ),
    ]),
  )
  expect(paths).not.toContain('server.max_queue')
  const said = JSON.stringify(configJsonSchema()).match(/"\$comment":"Read once/g) ?? []
  expect(said).toHaveLength(paths.length)
})
