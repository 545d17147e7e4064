import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { loadArtifact } from '../../../src/routing/artifact/load.ts'
import type { Artifact } from '../../../src/routing/artifact/types.ts'
import { PEOPLE } from '../../../src/routing/choose/evidence.ts'
import { LlmStates } from '../../../src/routing/model/llm-states.ts'
import type { Evidence } from '../../../src/store/store.ts'
import { candidate, silent } from '../support.ts'

const CURRENT = fileURLToPath(new URL('../../../router-model/artifacts/current', import.meta.url))
const POOL = [candidate('mid', { price: { input: 0.4, output: 1.6 } })]

let artifact: Artifact

beforeAll(async () => {
  artifact = await loadArtifact(CURRENT)
})

/** State of the LLM at a tenant whose users say that of it, and that of themselves. */
async function stateOf(popular: boolean, people: readonly number[]): Promise<number[]> {
  const { E, V, Y } = artifact.dims
  const said = new Float32Array(V)
  // A thousand ratings' worth, which all like it by .2 more than its answers explain to usual people.
  if (popular) said.set([1000, 200], V - 2)
  const evidence: Evidence = new Map([
    ['mid', said],
    [PEOPLE, Float32Array.from({ length: Y }, (_, i) => people[i] ?? 0)],
  ])
  const embed = async () => new Float32Array(E)
  const llms = new LlmStates(
    artifact,
    embed,
    async () => evidence,
    () => POOL,
    silent,
  )
  return [...((await llms.rows('t', POOL))[0] as Float32Array)]
}

const apart = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))

describe('popularity', () => {
  it('counts where usual people are the tenant’s, by whom it was measured', async () => {
    const unknown = await stateOf(false, [])
    expect(apart(await stateOf(true, []), unknown)).toBeGreaterThan(0.1)
    expect(apart(await stateOf(true, [30]), unknown)).toBeGreaterThan(0.1)
  })

  it('counts for nothing where people are of another kind, which tells what they like', async () => {
    expect(apart(await stateOf(true, [-30, 30]), await stateOf(false, []))).toBeLessThan(0.05)
  })
})
