import { expect, it } from 'vitest'
import { configSchema } from '../../src/config/schema.ts'
import { closeSnapshot, makeSnapshot } from '../../src/config/snapshot.ts'

it('tells which entries of tenants’ lists stay empty: of a server that is away, or of providers without a key', async () => {
  const snapshot = await makeSnapshot(
    configSchema.parse({
      providers: {
        local: { kind: 'openai-compatible', base_url: 'http://127.0.0.1:1/v1', key_required: false, discover: true },
        keyless: { kind: 'openai-compatible', base_url: 'http://127.0.0.1:1/v1' },
        sandbox: { kind: 'sandbox', enabled: true },
      },
      candidates: [{ name: 'dear', provider: 'keyless', price: { input: 1, output: 1 }, groups: ['eu'] }],
      tenants: [{ name: 'acme', candidates: ['default', 'local/llama', 'eu'] }],
    }),
  )
  expect(snapshot.empty).toEqual(['local/llama', 'eu'].map((wanted) => ({ tenant: 'acme', wanted })))
  expect(snapshot.off.map(({ name }) => name)).toContain('tenant acme: eu')
  expect(snapshot.tenants.get('acme')?.candidates.length).toBeGreaterThan(0)
  await closeSnapshot(snapshot)
})
