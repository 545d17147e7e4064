import { generateKeyPairSync } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { signArtifact } from '../../../src/routing/artifact/signature.ts'
import { Policies, type PoliciesOptions } from '../../../src/routing/policies/policies.ts'
import {
  copyArtifact,
  editManifest,
  POOL,
  rewrite,
  routerConfig,
  silent,
  TINY_1,
  TINY_2,
  tinyEmbed,
  tinyEmbedder,
} from '../support.ts'

const opened: Policies[] = []
afterEach(() => {
  for (const policies of opened.splice(0)) policies.close()
})

async function open(config: Record<string, unknown>, of: Partial<PoliciesOptions> = {}): Promise<Policies> {
  const policies = await Policies.open({
    config: routerConfig(config),
    openEmbedder: async () => tinyEmbedder,
    loadEvidence: async () => new Map(),
    candidatesOf: () => POOL,
    log: silent,
    ...of,
  })
  opened.push(policies)
  return policies
}

const serving = (policies: Policies, user = 'ann') => policies.snapshot('acme', user).policy?.version ?? null

describe('Policies', () => {
  it('serves the configured artifact', async () => {
    const policies = await open({ artifact: TINY_1 })
    expect(policies.status()).toMatchObject({ policy: 'tiny-1', device: 'cpu', error: null, previous: [] })
    expect(policies.snapshot('acme', 'ann')).toMatchObject({ arm: 'live', shadow: null })
  })

  it('swaps, and goes back by name', async () => {
    const policies = await open({ artifact: TINY_1 })
    expect(await policies.reload(TINY_2)).toBe('tiny-2')
    expect(policies.status()).toMatchObject({ policy: 'tiny-2', previous: ['tiny-1'] })
    expect(await policies.rollback('tiny-1')).toBe('tiny-1')
    expect(policies.status()).toMatchObject({ policy: 'tiny-1', previous: ['tiny-2'] })
    await expect(policies.rollback('tiny-9')).rejects.toMatchObject({ status: 404, code: 'artifact_not_found' })
    expect(serving(policies)).toBe('tiny-1')
  })

  it('keeps one object for one version, so that a request and its feedback agree', async () => {
    const policies = await open({ artifact: TINY_1 })
    const before = policies.snapshot('acme', 'ann').policy
    await policies.reload(TINY_2)
    await policies.reload(TINY_1)
    expect(policies.snapshot('acme', 'ann').policy).toBe(before)
  })

  it('refuses other files under a version that is known', async () => {
    const policies = await open({ artifact: TINY_1 })
    const other = copyArtifact(TINY_2)
    editManifest(other, (manifest) => Object.assign(manifest, { version: 'tiny-1' }))
    await expect(policies.reload(other)).rejects.toThrow(/has the version tiny-1 already/)
    // Nothing that is configured is missing.
    expect(policies.status().error).toBeNull()
  })

  it('refuses an embedder that is not the one of training', async () => {
    const policies = await open({ artifact: TINY_1 }, { openEmbedder: async () => ({ ...tinyEmbedder, version: 'x' }) })
    expect(policies.status()).toMatchObject({ policy: 'fallback:first', error: expect.stringMatching(/^embedder: /) })
  })

  it('refuses an embedder that reads the golden texts otherwise', async () => {
    const directory = copyArtifact()
    const vector = (by: number) => Buffer.from(tinyEmbed('hello').map((value) => value + by).buffer).toString('base64')
    const withText = (by: number) =>
      rewrite(directory, 'golden.json', (data) => {
        const golden = JSON.parse(data.toString())
        return JSON.stringify({ ...golden, embed: [{ text: 'hello', vector: vector(by) }] })
      })
    withText(0.01)
    const policies = await open({ artifact: directory })
    expect(policies.status().error).toMatch(/golden text 0 is off by 0\.0/)
    withText(0)
    expect(await policies.reload()).toBe('tiny-1')
    expect(policies.status().error).toBeNull()
  })

  it('has LLM states ready before it swaps, and when it is told of tenants at the start', async () => {
    const asked: string[] = []
    const loadEvidence = async (tenant: string, version: string) => {
      asked.push(`${tenant} ${version}`)
      return new Map()
    }
    const policies = await open({ artifact: TINY_1 }, { loadEvidence })
    await policies.warm([{ name: 'acme', candidates: POOL }])
    await policies.reload(TINY_2)
    expect(asked).toEqual(['acme voices:tiny-1', 'acme lengths:tiny-1', 'acme voices:tiny-2', 'acme lengths:tiny-2'])
  })

  it('forgets candidates of former configurations', async () => {
    const policies = await open({ artifact: TINY_1 })
    for (let reload = 0; reload < 3; reload++) {
      await policies.warm([{ name: 'acme', candidates: POOL.map((one) => ({ ...one })) }])
    }
    const { policy } = policies.snapshot('acme', 'ann')
    expect(policy?.router.llms.size('acme')).toBe(POOL.length)
  })

  it('sends a share of the users to the canary, always the same ones', async () => {
    const policies = await open({ artifact: TINY_1, canary: { artifact: TINY_2, share: 0.2 } })
    const users = Array.from({ length: 2_000 }, (_, i) => `user-${i}`)
    const inCanary = users.filter((user) => policies.snapshot('acme', user).arm === 'canary')
    // Four standard deviations of a fair hash.
    expect(Math.abs(inCanary.length / users.length - 0.2)).toBeLessThan(4 * Math.sqrt((0.2 * 0.8) / users.length))
    for (const user of users) expect(serving(policies, user)).toBe(inCanary.includes(user) ? 'tiny-2' : 'tiny-1')
    await policies.configure(routerConfig({ artifact: TINY_1 }))
    expect(users.every((user) => serving(policies, user) === 'tiny-1')).toBe(true)
  })

  it('has the shadow beside the live policy, and takes it off', async () => {
    const policies = await open({ artifact: TINY_1, shadow: TINY_2 })
    expect(policies.snapshot('acme', 'ann').shadow?.version).toBe('tiny-2')
    await policies.configure(routerConfig({ artifact: TINY_1 }))
    expect(policies.snapshot('acme', 'ann').shadow).toBeNull()
  })

  it('serves on when a shadow or a canary is bad', async () => {
    const policies = await open({ artifact: TINY_1, shadow: '/nowhere', canary: { artifact: '/nowhere', share: 1 } })
    expect(serving(policies)).toBe('tiny-1')
    expect(policies.status().error).toMatch(/manifest\.json can’t be read/)
  })

  it('does not let scores wait for a load', async () => {
    const policies = await open({ artifact: TINY_1 })
    await policies.warm([{ name: 'acme', candidates: POOL }])
    let done = false
    const swap = policies.reload(TINY_2).then(() => {
      done = true
    })
    const query = { tenant: 'acme', embedding: tinyEmbed('x'), promptTokens: 5, state: null }
    let during = 0
    while (!done) {
      const { policy } = policies.snapshot('acme', 'ann')
      await policy?.router.score(query, POOL)
      if (!done) during++
    }
    await swap
    expect(during).toBeGreaterThan(0)
  })
})

describe('what is configured and refused', () => {
  it('is told by what it is for, until it is good or no longer wanted', async () => {
    const directory = copyArtifact()
    editManifest(directory, (manifest) => Object.assign(manifest, { schema: 'nonsense' }))
    const policies = await open({ artifact: directory, shadow: '/nowhere' })
    expect(policies.status().error).toMatch(/schema.*can’t be read/s)
    cpSync(TINY_1, directory, { recursive: true, force: true })
    await policies.reload()
    expect(policies.status().error).toMatch(/^manifest: manifest\.json can’t be read/)
    await policies.configure(routerConfig({ artifact: directory }))
    expect(policies.status().error).toBeNull()
  })

  it('is no news any more once the operator has gone back', async () => {
    const directory = copyArtifact(TINY_1)
    const policies = await open({ artifact: directory })
    await policies.reload(TINY_2)
    writeFileSync(join(directory, 'score.onnx'), 'damaged')
    await expect(policies.reload()).rejects.toMatchObject({ check: 'hash' })
    expect(policies.status().error).toMatch(/^hash/)
    await policies.rollback('tiny-1')
    expect(policies.status()).toMatchObject({ policy: 'tiny-1', error: null })
  })
})

describe('tenants with policies of their own', () => {
  const POLICIES = { artifact: TINY_1, canary: { artifact: TINY_1, share: 1 } }
  const of = (policies: Policies, tenant: string) => policies.snapshot(tenant, 'ann').policy?.version

  it('are served by them, and nobody else is', async () => {
    const policies = await open(POLICIES, {
      tenants: [{ name: 'acme', artifact: TINY_2, shadow: TINY_1 }, { name: 'bell' }],
    })
    expect([of(policies, 'acme'), of(policies, 'bell'), of(policies, 'other')]).toEqual(['tiny-2', 'tiny-1', 'tiny-1'])
    expect(policies.snapshot('acme', 'ann')).toMatchObject({ arm: 'live', shadow: { version: 'tiny-1' } })
    expect(policies.snapshot('bell', 'ann')).toMatchObject({ arm: 'canary', shadow: null })
    expect([policies.audienceOf('acme'), policies.audienceOf('bell')]).toEqual(['acme', ''])
    expect(Object.keys(policies.status().tenants)).toEqual(['acme'])
  })

  it('share what is loaded', async () => {
    const results: string[] = []
    const policies = await open(
      { artifact: TINY_1 },
      {
        tenants: ['acme', 'bell', 'coop'].map((name) => ({ name, artifact: TINY_2 })),
        onLoad: (result) => results.push(result),
      },
    )
    const [acme, bell, coop] = ['acme', 'bell', 'coop'].map((tenant) => policies.snapshot(tenant, 'ann').policy)
    expect(acme?.version).toBe('tiny-2')
    expect(bell).toBe(acme)
    expect(coop).toBe(acme)
    expect(results).toEqual(['ok', 'ok'])
  })

  it('have one embedder where theirs are the same, open until the last of them ends', async () => {
    let opened = 0
    let closed = 0
    const policies = await open(
      { artifact: TINY_1 },
      {
        tenants: [{ name: 'acme', artifact: TINY_2 }],
        openEmbedder: async () => {
          opened++
          return {
            ...tinyEmbedder,
            close: async () => {
              closed++
            },
          }
        },
      },
    )
    expect(of(policies, 'acme')).toBe('tiny-2')
    await policies.close()
    expect([opened, closed]).toEqual([1, 1])
  })

  it('are swapped and rolled back alone; the first one goes back to everybody’s', async () => {
    const policies = await open({ artifact: TINY_1 }, { tenants: [{ name: 'acme' }, { name: 'bell' }] })
    await policies.reload(TINY_2, 'acme')
    expect([of(policies, 'acme'), of(policies, 'bell')]).toEqual(['tiny-2', 'tiny-1'])
    await expect(policies.rollback('tiny-1')).rejects.toMatchObject({ code: 'artifact_not_found' })
    await policies.rollback('tiny-1', 'acme')
    expect(of(policies, 'acme')).toBe('tiny-1')
    await expect(policies.reload(TINY_2, 'nobody')).rejects.toMatchObject({ status: 404, code: 'tenant_not_found' })
  })

  it('follow everybody’s where theirs is bad or no longer configured', async () => {
    const policies = await open({ artifact: TINY_1 }, { tenants: [{ name: 'acme', artifact: '/nowhere' }] })
    expect(of(policies, 'acme')).toBe('tiny-1')
    expect(policies.status()).toMatchObject({
      error: null,
      tenants: { acme: { policy: 'tiny-1', error: expect.stringMatching(/^manifest/) } },
    })
    await policies.configure(routerConfig({ artifact: TINY_1 }), [{ name: 'acme', artifact: TINY_2 }])
    expect(of(policies, 'acme')).toBe('tiny-2')
    await policies.configure(routerConfig({ artifact: TINY_1 }), [{ name: 'acme' }])
    expect(of(policies, 'acme')).toBe('tiny-1')
    await policies.reload(TINY_2)
    expect(of(policies, 'acme')).toBe('tiny-2')
    expect(policies.status().tenants).toEqual({})
  })

  it('are found where retraining puts them, as soon as they are there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'artifacts-'))
    symlinkSync(TINY_1, join(folder, 'current'))
    const own = join(folder, 'tenants', 'acme')
    mkdirSync(own, { recursive: true })
    const policies = await open({ artifact: join(folder, 'current'), watch: true }, { tenants: [{ name: 'acme' }] })
    expect(of(policies, 'acme')).toBe('tiny-1')
    expect(policies.status().tenants).toEqual({})
    await settled()
    symlinkSync(TINY_2, join(own, 'current'))
    await vi.waitFor(() => expect(of(policies, 'acme')).toBe('tiny-2'), { timeout: 10_000 })
    expect(serving(policies)).toBe('tiny-2')
    expect(of(policies, 'other')).toBe('tiny-1')
    rmSync(folder, { recursive: true })
  })
})

describe('another configuration', () => {
  it('changes artifact, shadow and canary, and what is watched', async () => {
    const policies = await open({ artifact: TINY_1, watch: true })
    const directory = copyArtifact(TINY_2)
    await policies.configure(
      routerConfig({ artifact: directory, shadow: TINY_1, canary: { artifact: TINY_1, share: 1 } }),
    )
    expect(policies.status()).toMatchObject({ policy: 'tiny-2', shadow: 'tiny-1', canary: { share: 1 } })
    await policies.configure(routerConfig({ artifact: directory }))
    expect(policies.status()).toMatchObject({ policy: 'tiny-2', shadow: null, canary: null })
    await settled()
    cpSync(TINY_1, directory, { recursive: true, force: true })
    await vi.waitFor(() => expect(serving(policies)).toBe('tiny-1'), { timeout: 10_000 })
    await policies.configure(routerConfig({ artifact: '/nowhere' }))
    expect(policies.status()).toMatchObject({ policy: 'tiny-1', error: expect.stringMatching(/^manifest/) })
  })
})

describe('watching the artifact', () => {
  it('takes in what is written into the directory', async () => {
    const directory = copyArtifact(TINY_1)
    const policies = await open({ artifact: directory, watch: true })
    await settled()
    cpSync(TINY_2, directory, { recursive: true, force: true })
    await vi.waitFor(() => expect(serving(policies)).toBe('tiny-2'), { timeout: 10_000 })
  })

  it('follows a link that is turned to another artifact', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'artifacts-'))
    const link = join(folder, 'current')
    symlinkSync(TINY_1, link)
    const policies = await open({ artifact: link, watch: true })
    await settled()
    symlinkSync(TINY_2, join(folder, 'next'))
    renameSync(join(folder, 'next'), link)
    await vi.waitFor(() => expect(serving(policies)).toBe('tiny-2'), { timeout: 10_000 })
    unlinkSync(link)
    rmSync(folder, { recursive: true })
    await settled()
    expect(serving(policies)).toBe('tiny-2')
  })

  it('takes in one that is signed where it lies', async () => {
    const directory = copyArtifact(TINY_1)
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const artifact_public_key = String(publicKey.export({ type: 'spki', format: 'pem' }))
    const policies = await open({ artifact: directory, watch: true, artifact_public_key })
    expect(serving(policies)).toBeNull()
    await settled()
    signArtifact(directory, String(privateKey.export({ type: 'pkcs8', format: 'pem' })))
    await vi.waitFor(() => expect(serving(policies)).toBe('tiny-1'), { timeout: 10_000 })
  })

  it('recovers when a good one follows a bad one', async () => {
    const results: string[] = []
    const directory = copyArtifact(TINY_1)
    const policies = await open({ artifact: directory, watch: true }, { onLoad: (result) => results.push(result) })
    await settled()
    editManifest(directory, (manifest) => Object.assign(manifest, { schema: 'nonsense' }))
    await vi.waitFor(() => expect(results).toEqual(['ok', 'refused']), { timeout: 10_000 })
    expect(serving(policies)).toBe('tiny-1')
    cpSync(TINY_2, directory, { recursive: true, force: true })
    await vi.waitFor(() => expect(serving(policies)).toBe('tiny-2'), { timeout: 10_000 })
    expect(policies.status().error).toBeNull()
  })
})

/** Watchers start in the background. */
const settled = () => new Promise((done) => setTimeout(done, 100))
