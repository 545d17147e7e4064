import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { movedVectors } from '../../src/learning/moved-vectors.ts'
import { VectorVault } from '../../src/learning/vector-vault.ts'
import type { Policy } from '../../src/routing/policy.ts'
import type { Store } from '../../src/store/store.ts'
import { tinyEmbed, tinyPolicy } from '../routing/support.ts'
import { anInteraction } from '../store/records.ts'
import { expectClose } from '../support/close.ts'
import { interaction, learnerOn, meansFor, openTestStore, QUESTION, quantise, reward } from './support.ts'

const SECRET = 'a-secret-outside-the-store'
const vector = quantise(Float32Array.from({ length: 256 }, (_, i) => Math.sin(i)))
const keptAs = (sealed: string) => ({ embedder: 'e', of: { sealed } })

let store: Store
beforeAll(() => {
  store = openTestStore()
})
afterAll(() => store.close())

it('opens what it sealed, in another process, and of the same user alone', async () => {
  const vault = new VectorVault(store, [SECRET])
  const seal = await vault.sealOf('acme', 'ann', Date.now())
  const sealed = seal?.(vector) as string
  expect(Buffer.from(sealed, 'base64').includes(Buffer.from(vector.int8.buffer).subarray(0, 16))).toBe(false)
  const other = new VectorVault(store, [SECRET])
  const opened = await other.open('acme', 'ann', keptAs(sealed))
  expect(opened?.int8).toEqual(vector.int8)
  expect(opened?.scale).toBeCloseTo(vector.scale, 6)
  expect(await other.open('acme', 'bob', keptAs(sealed))).toBeNull()
  expect(await other.open('other', 'ann', keptAs(sealed))).toBeNull()
  expect(await new VectorVault(store, ['another-secret-of-nobody']).open('acme', 'ann', keptAs(sealed))).toBeNull()
  expect(await new VectorVault(store, ['a-new-secret', SECRET]).open('acme', 'ann', keptAs(sealed))).not.toBeNull()
  vault.close()
  other.close()
})

it('opens nothing of an erased user, who has both the secret and every copy of what was sealed', async () => {
  const vault = new VectorVault(store, [SECRET])
  const asked = Date.now() - 1
  const sealed = (await vault.sealOf('acme', 'gone', asked))?.(vector) as string
  await store.eraseUser('acme', 'gone')
  expect(await vault.open('acme', 'gone', keptAs(sealed))).toBeNull()
  // Of a request that began before.
  const late = new VectorVault(store, [SECRET])
  expect(await late.sealOf('acme', 'gone', asked)).toBeNull()
  vault.close()
  late.close()
})

it('seals nothing without a secret, and opens what an earlier version left in clear', async () => {
  const vault = new VectorVault(store, null)
  expect(await vault.sealOf('acme', 'ann', Date.now())).toBeNull()
  expect(await vault.open('acme', 'ann', keptAs(randomBytes(64).toString('base64')))).toBeNull()
  expect(await vault.open('acme', 'ann', { embedder: 'e', of: { plain: vector } })).toEqual(vector)
  vault.close()
})

/** The same artifact as if it read queries in another way. */
const withReader = (policy: Policy, reader: string): Policy => {
  Object.assign(policy.router.artifact.manifest, { reader })
  return policy
}

it('lets an artifact with another reader learn from what was rated before', async () => {
  const vault = new VectorVault(store, [SECRET])
  const { learner, states } = learnerOn(store, undefined, { vault })
  const [first, second] = [await tinyPolicy(), withReader(await tinyPolicy(), 'another')]
  Object.assign(second, { version: 'another' })
  for (const user of ['sealed', 'bare']) {
    const seal = user === 'sealed' ? await vault.sealOf('acme', user, Date.now()) : null
    const vector = seal && { embedder: 'tiny', of: { sealed: seal(quantise(tinyEmbed(QUESTION))) } }
    for (let i = 0; i < 4; i++) {
      const about = interaction(`${user}-${i}`, { user, vector, ts: Date.now() })
      expect(await learner.apply(first, reward(about, 1), about)).toBe('learned')
    }
  }
  const [cold, then] = [await meansFor(second, states, 'nobody'), await meansFor(first, states, 'sealed')]
  expectClose(Object.values(await meansFor(second, states, 'sealed')), Object.values(then), 1e-2)
  expectClose(Object.values(await meansFor(second, states, 'bare')), Object.values(cold))
  // Nor does a rating under the new reader bring back more than it can read.
  const about = interaction('bare-4', { user: 'bare', reader: 'another', ts: Date.now() })
  expect(await learner.apply(second, reward(about, 1), about)).toBe('learned')
  expect(await store.loadEdges('acme', 'bare')).toHaveLength(5)
  states.close()
  vault.close()
})

it('gives vectors to exports, and takes them from imports, of tenants that asked for them alone', async () => {
  const vault = new VectorVault(store, [SECRET])
  const tenants = [
    { name: 'asked', training: 'vectors' },
    { name: 'silent', training: 'readings' },
  ]
  const { open, seal } = movedVectors({ tenants } as never, vault)
  const base64 = Buffer.from(vector.int8.buffer).toString('base64')
  for (const tenant of ['asked', 'silent']) {
    const plain = anInteraction({ tenant, embedding: { int8: base64, scale: vector.scale } })
    const sealed = await seal(plain)
    if (tenant === 'silent') {
      expect(sealed.embedding).toBeNull()
      expect((await open(plain)).embedding).toBeNull()
      continue
    }
    expect(JSON.stringify(sealed)).not.toContain(base64.slice(0, 40))
    expect((await open(sealed)).embedding).toEqual({ int8: base64, scale: expect.closeTo(vector.scale, 6) })
  }
  vault.close()
})
