import { userHash } from '../../../src/runtime/keys.ts'
import type { BackupStore } from '../../../src/store/backup/contract.ts'
import { edgeId } from '../../../src/store/history.ts'
import { dayOf, type UsageRow } from '../../../src/store/usage.ts'
import { anEdge, anInteraction, aReward, aUser } from '../records.ts'

const DAY_MS = 86_400_000
export const TENANTS = ['acme', 'zeta']
/** One whose id would be taken apart by a careless reader of keys, or of lines. */
export const ODD_USER = 'p:Zoë}:{ü:user:\n🦉\u2028\u0085'

/** Puts something of each kind into a store, of two tenants. Users `u-0` … have so many edges as their number. */
export async function fill(store: BackupStore, users = 6): Promise<void> {
  await store.sharedSecret('a-secret-of-the-store')
  for (const tenant of TENANTS) {
    const key = (n: number, more: object) => ({
      id: `${tenant}-${n}`,
      tenant,
      name: 'ci',
      hash: `${tenant}${n}`.padEnd(64, '0'),
      prefix: 'pr-abcde',
      createdAt: 1_700_000_000_000 + n,
      expiresAt: null,
      revokedAt: null,
      models: null,
      user: null,
      scopes: null,
      ...more,
    })
    await store.createKey(key(1, { user: 'ann', models: ['gpt-5'] }))
    await store.createKey(key(2, { revokedAt: 1_700_000_000_500, scopes: ['chat'] }))
    for (const [n, user] of [...Array.from({ length: users }, (_, i) => `u-${i}`), ODD_USER].entries()) {
      const preferences = { deny: ['cheap'], prefer: { code: 'dear' } }
      const stated = { updatedAt: 1_700_000_100_000 + n, preferences }
      for (let revision = 1; revision <= Math.max(1, n); revision++) {
        const of = (seq: number) => anEdge({ id: edgeId(`i-${n}-${seq}`, 'rating'), seq, ts: seq })
        const edges = n > 0 ? Array.from({ length: revision }, (_, i) => of(i + 1)) : undefined
        await store.commitUser(tenant, user, aUser({ ...stated, revision, rewards: n }), edges)
      }
      await store.salt(tenant, user, Buffer.alloc(32, n))
      const rows = Array.from({ length: 5 }, (_, i) =>
        anInteraction({ id: `${tenant}-${n}-${i}`, tenant, user, key: `${tenant}-1`, ts: Date.now() - (5 - i) * 1000 }),
      )
      await store.appendInteractions(rows)
      await store.appendRewards(
        rows.slice(2).map(({ id, ts }) => aReward({ interaction: id, tenant, user, ts: ts + 1 })),
      )
      const turn = {
        candidate: 'c',
        interaction: 'i',
        user,
        lastUserHash: 'h',
        vector: 'c2VhbA==',
        messages: 3,
        promptTokens: 9,
      }
      await store.saveConversation(tenant, `turn-${n}`, { ...turn, ts: Date.now() }, 3_600)
      const response = {
        id: `resp-${n}`,
        ts: Date.now(),
        chain: [],
        items: [`msg-${n}`],
        body: Buffer.from([0, n, 255]),
      }
      await store.responses.save(tenant, user, response, { ttlMs: DAY_MS, maxBytes: 1e9 })
    }
    const text = { text: 'what was asked', textExpiresAt: Date.now() + DAY_MS }
    await store.appendInteractions([anInteraction({ id: `${tenant}-text`, tenant, user: 'u-1', ...text })])
    for (const name of ['gpt-5#u1', 'gpt-5#k3']) {
      await store.addEvidence(tenant, 'voices:2026.01.01-1', name, Float32Array.of(1.5, -2, 0, 20_000), 90)
    }
    await store.noteRefusals(tenant, [{ deployment: 'openai/gpt-5', field: 'top_k', expiresAt: Date.now() + DAY_MS }])
    await store.saveMode(tenant, 'observe')
    const limit = { scope: 'user:u-1', what: 'nanoUsd', window: 'month', max: 1e12 } as const
    const amounts = { requests: 1, tokens: 2, nanoUsd: 5_000_000 }
    await store.limits.reserve({ tenant, id: 'r', limits: [limit], amounts, ttlMs: 60_000 })
    await store.limits.settle(tenant, 'r', amounts)
    await store.commitUser(tenant, 'of a former secret', aUser())
    await store.moveUser(tenant, 'of a former secret', 'of the present one')
    await store.commitUser(tenant, 'gone', aUser())
    await store.eraseUser(tenant, 'gone')
  }
}

export const MARK = userHash('gone')

/** What was used today, by tenant and scope. */
export async function usedToday(store: BackupStore, tenant: string): Promise<UsageRow[]> {
  const today = dayOf(Date.now())
  const from = dayOf(Date.now() - DAY_MS)
  const scopes = ['tenant', 'key', 'user'] as const
  const rows = await Promise.all(scopes.map((scope) => store.usage.read(tenant, { scope, from, to: today })))
  return rows.flat().sort((a, b) => (`${a.scope}${a.id}` < `${b.scope}${b.id}` ? -1 : 1))
}
