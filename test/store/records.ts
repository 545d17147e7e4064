import { randomUUID } from 'node:crypto'
import { edgeId } from '../../src/store/history.ts'
import type { InteractionRecord, RewardRecord } from '../../src/store/records/codec.ts'
import type { ScoredCandidates } from '../../src/store/records/records.ts'
import { scoredCandidates } from '../../src/store/records/scored-candidates.ts'
import type { StoredEdge, StoredUser } from '../../src/store/store.ts'

const scored = (m: number): ScoredCandidates =>
  scoredCandidates(
    Array.from({ length: m }, (_, i) => ({
      candidate: { name: `candidate-${i}` },
      ...{ mean: 0.123456789 * i, std: 0.1, costUsd: 0.000123 },
    })),
    Array.from({ length: m }, () => 1 / m),
    true,
  )

export const NO_CANDIDATES = scored(0)

/** A record as a gateway with twelve candidates writes it; differs only where told. */
export function anInteraction(overrides: Partial<InteractionRecord> = {}): InteractionRecord {
  const id = overrides.id ?? randomUUID()
  return {
    id,
    ts: Date.now(),
    tenant: 'acme',
    user: 'u-1',
    conversation: 'conversation-1',
    embedding: null,
    embedder: 'static-1',
    reading: { int8: Buffer.from(Array.from({ length: 30 }, (_, i) => i)).toString('base64'), scale: 0.01 },
    reader: 'reader-1',
    text: null,
    candidates: scored(12),
    policy: '2026.01.01-1',
    chosen: 'candidate-3',
    reason: 'personal',
    attempts: [{ candidate: 'candidate-3', provider: 'openai', status: 200, error: null, ms: 812.5 }],
    usage: { promptTokens: 120, completionTokens: 340, cachedTokens: 64, cacheWriteTokens: 0, reasoningTokens: 12 },
    usageEstimated: false,
    costUsd: 0.00234,
    ttftMs: 210.25,
    totalMs: 900.5,
    overheadUs: 180,
    finishReason: 'stop',
    status: 200,
    stream: true,
    tools: false,
    modalities: ['text'],
    completionId: `chatcmpl-${id}`,
    ...overrides,
  }
}

export function aReward(overrides: Partial<RewardRecord> = {}): RewardRecord {
  return {
    interaction: randomUUID(),
    tenant: 'acme',
    user: 'u-1',
    kind: 'rating',
    value: 1,
    weight: 1,
    binary: true,
    ts: Date.now(),
    preferredModel: null,
    comment: null,
    ...overrides,
  }
}

export function aUser(overrides: Partial<StoredUser> = {}): StoredUser {
  return {
    revision: 1,
    policy: '2026.01.01-1',
    rewards: 1,
    state: Uint8Array.from({ length: 300 }, (_, i) => 255 - i),
    older: Float32Array.from({ length: 400 }, (_, i) => i / 7),
    preferences: { note: 'short answers', cost_weight: 0.5 },
    updatedAt: Date.now(),
    since: Date.now() - 1_000,
    heardAt: Date.now() - 500,
    ...overrides,
  }
}

export function anEdge(overrides: Partial<StoredEdge> = {}): StoredEdge {
  return {
    id: edgeId(randomUUID(), 'rating'),
    seq: 1,
    ts: Date.now(),
    candidate: 'candidate-3',
    reading: { int8: Int8Array.from({ length: 30 }, (_, i) => i - 128), scale: Math.fround(0.02) },
    reader: 'reader-1',
    vector: { embedder: 'static-1', of: { sealed: 'c2VhbGVk' } },
    reward: -0.25,
    kind: 'thumb',
    weight: 0.5,
    promptTokens: 120,
    completionTokens: -1,
    costUsd: Math.fround(0.00234),
    ...overrides,
  }
}

/** What a store reads in batches, in one list. */
export async function all<T>(batches: AsyncIterable<T[]>): Promise<T[]> {
  const rows: T[] = []
  for await (const batch of batches) rows.push(...batch)
  return rows
}
