import { beforeAll, describe, expect, it } from 'vitest'
import { loadArtifact } from '../../../src/routing/artifact/load.ts'
import type { Artifact } from '../../../src/routing/artifact/types.ts'
import { PEOPLE } from '../../../src/routing/choose/evidence.ts'
import { LlmStates } from '../../../src/routing/model/llm-states.ts'
import { popularAmong } from '../../../src/routing/model/popularity.ts'
import type { Evidence } from '../../../src/store/store.ts'
import { COMMITTED } from '../../support/artifacts.ts'
import { expectClose } from '../../support/close.ts'
import { CHEAP, POOL, silent } from '../support.ts'

describe('how surely an LLM is liked', () => {
  // As in `router-model/tests/test_kinds_of_people.py`.
  it.each([
    ['an artifact of one kind of people', [], [50, 10]],
    ['usual people', [0.99, 0.01], [49.99, 9.998]],
    ['half of each', [0.5, 0.5], [33.3333, 6.66667]],
    ['others', [0.05, 0.95], [17.8253, 3.56506]],
  ])('%s', (_, people, expected) => {
    const made = popularAmong(people, Float32Array.of(7, 50, 10))
    expectClose(made, [7, ...expected])
    // However many say the same.
    const [, precision] = popularAmong(people, Float32Array.of(7, 1e6, 2e5))
    const others = 1 - (people[0] ?? 1)
    expect(precision).toBeLessThanOrEqual(others > 0 ? 25.1 / others ** 2 : 1e6)
  })
})

describe('with the artifact that ships', () => {
  let artifact: Artifact
  beforeAll(async () => {
    artifact = await loadArtifact(COMMITTED)
  })

  /** How much everybody likes an LLM of which users have said so much, by what they told of their tenant. */
  async function popularity(told: readonly number[]): Promise<number> {
    const { V, Y, E } = artifact.dims
    const said = new Float32Array(V)
    said.set([700, 140], V - 2)
    const evidence: Evidence = new Map([[CHEAP.name, said]])
    if (told.length === Y) evidence.set(PEOPLE, Float32Array.from(told))
    const llms = new LlmStates(
      artifact,
      () => new Float32Array(E).fill(1 / Math.sqrt(E)),
      async () => evidence,
      () => POOL,
      silent,
    )
    const [row] = await llms.rows('acme', [CHEAP])
    const [card] = await llms.byCard('acme', [CHEAP])
    // Nothing else of z follows from these two numbers.
    const moved = [...(row as Float32Array)].map((value, i) => value - (card?.[i] as number)).filter((by) => by !== 0)
    expect(moved).toHaveLength(1)
    return moved[0] as number
  }

  it('fifty users who count dollars move what others are served less than fifty usual ones', async () => {
    const usual = await popularity([20, 0, 0, 0, 0])
    const dollars = await popularity([0, 0, 0, 20, 0])
    expect(usual).toBeGreaterThan(0.13)
    expect(dollars).toBeGreaterThan(0.01)
    expect(dollars).toBeLessThan(usual / 4)
    // Nobody has told anything yet: nearly as usual.
    expect(await popularity([])).toBeGreaterThan(0.9 * usual)
  })
})
