/**
 * The gateway, with parts of it taken out: `node gateway.ts <configuration> [part,part,…]`. A part is taken out by
 * making its calls do nothing; nothing else changes, so the difference is what the part costs. What the configuration
 * can switch off (limits, log) is switched off there.
 */

import { keepCompiled } from '../../../bin/compile-cache.mjs'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import type { Services } from '../../../src/parts.ts'
import type { CandidateScore, RouteQuery } from '../../../src/routing/router.ts'

const nothing = () => {}

const REMOVALS: Record<string, (services: Services) => void> = {
  key({ authenticator }) {
    authenticator.authenticate = async () => ({ tenant: 'bench', keyId: 'config-bench-0', models: null })
  },
  embedding: ({ policies }) => {
    const { policy } = policies.snapshot('bench', 'user')
    if (!policy) throw new Error('There is no artifact to take the embedder from.')
    const vector = new Float32Array(policy.embedder.dim).fill(0.05)
    policy.embedder.embed = () => vector
  },
  gnn({ policies }) {
    const { policy } = policies.snapshot('bench', 'user')
    if (!policy) throw new Error('There is no artifact to take the router from.')
    policy.router.score = async (_: RouteQuery, candidates: readonly Candidate[]) => candidates.map(fixedScore)
  },
  record({ recorder }) {
    recorder.open = nothing
    recorder.interaction = async () => {}
  },
  conversation({ store }) {
    store.loadConversation = async () => null
    store.saveConversation = async () => null
  },
  metrics({ metrics }) {
    metrics.observe = nothing
  },
}

const fixedScore = (candidate: Candidate, index: number): CandidateScore => ({
  candidate,
  mean: 0.5 - index / 1000,
  std: 0.1,
  quality: 0.5,
  completionTokens: 100,
  costUsd: 1e-4,
  parts: {},
})

const [config = '', parts = ''] = process.argv.slice(2)
// As bin/persona-router.mjs does.
keepCompiled()
const { serve } = await import('../../../src/main.ts')
await serve(config, (built) => {
  for (const part of parts.split(',').filter(Boolean)) REMOVALS[part]?.(built)
})
process.once('disconnect', () => process.exit(0))
