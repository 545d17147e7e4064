/**
 * The gateway, with parts of it taken out: `node gateway.ts <configuration> [part,part,…]`. A part is taken out by
 * making its calls do nothing; nothing else changes, so the difference is what the part costs. What the configuration
 * can switch off (limits, log) is switched off there.
 */

import { keepCompiled } from '../../../bin/compile-cache.mjs'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import type { Policies } from '../../../src/routing/policies/policies.ts'
import type { Policy } from '../../../src/routing/policy.ts'
import type { CandidateScore, RouteQuery } from '../../../src/routing/router.ts'
import type { Overrides } from '../../../src/services/contract.ts'

const nothing = () => {}

const REMOVALS: Record<string, Overrides> = {
  key: {
    authenticator: (made) =>
      Object.assign(made, { authenticate: async () => ({ tenant: 'bench', keyId: 'config-bench-0', models: null }) }),
  },
  embedding: {
    policies(made) {
      const policy = servingPolicy(made)
      const vector = new Float32Array(policy.embedder.dim).fill(0.05)
      policy.embedder.embed = () => vector
      return made
    },
  },
  gnn: {
    policies(made) {
      servingPolicy(made).router.score = async (_: RouteQuery, candidates: readonly Candidate[]) =>
        candidates.map(fixedScore)
      return made
    },
  },
  record: { recorder: (made) => Object.assign(made, { open: nothing, interaction: async () => {} }) },
  conversation: {
    store: (made) => Object.assign(made, { loadConversation: async () => null, saveConversation: async () => null }),
  },
  metrics: { metrics: (made) => ({ ...made, observe: nothing }) },
}

/**
 * Whether streams go through as they come (no event is held until it is whole, and only the end is read) is told by a
 * message, round by round: two processes of the same code differ by more than adapting costs.
 */
async function makeFramingOptional(): Promise<void> {
  const { SseObserver } = await import('../../../src/openai/sse-observer.ts')
  const whole = SseObserver.prototype.push
  let framing = true
  process.on('message', (told: { framing: boolean }) => {
    framing = told.framing
  })
  SseObserver.prototype.push = function (this: InstanceType<typeof SseObserver>, bytes: Uint8Array): Buffer | null {
    if (framing) return whole.call(this, bytes)
    const chunk = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.events++
    this.speaks = true
    // What is done with an answer's name is done here, too.
    this.id ??= /"id":"([^"]+)"/.exec(chunk.toString('latin1'))?.[1] ?? null
    if (chunk.includes('data: [DONE]')) this.done = true
    return chunk
  }
}

function servingPolicy(policies: Policies): Policy {
  const { policy } = policies.snapshot('bench', 'user')
  if (!policy) throw new Error('There is no artifact to take a part from.')
  return policy
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
await makeFramingOptional()
await serve(config, overridesOf(parts.split(',')))
process.once('disconnect', () => process.exit(0))

/** Several removals may be of one part. */
function overridesOf(names: readonly string[]): Overrides {
  const removals = names.flatMap((name) => REMOVALS[name] ?? [])
  const policies = removals.flatMap((removal) => removal.policies ?? [])
  return {
    ...Object.assign({}, ...removals),
    policies: (made) => policies.reduce((changed, remove) => remove(changed), made),
  }
}
