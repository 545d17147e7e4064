import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { VectorVault } from '../../src/learning/vector-vault.ts'
import type { Store } from '../../src/store/store.ts'
import { openTestStore, quantise } from './support.ts'

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
