/**
 * Who is worse off by the router than by the baseline alone, through the gateway's own scores, choice, exploration and
 * beliefs: the demo's people, who are new to the router, and ZeroEval's outcomes, on questions kept out of training.
 * `node scripts/on-node.mjs test/bench/safe.ts [users]`
 *
 * The baseline is the best single LLM for other people like them. Each user asks twenty questions and rates each answer
 * that the router chose; then they are judged by what it would choose of questions that they did not ask.
 */
import { fileURLToPath } from 'node:url'
import { costOf, loadOutcomes, type Question, tasksOf, tokensOf } from '../../demo/outcomes.ts'
import { type Random, seeded } from '../../demo/random.ts'
import { makeUsers, ratingOf, type User, utility } from '../../demo/users.ts'
import { openEmbedder } from '../../src/embedding/index.ts'
import { rebuild } from '../../src/learning/belief.ts'
import { choose } from '../../src/routing/choose/choose.ts'
import { Policies } from '../../src/routing/policies/policies.ts'
import { cautionFor, type Policy } from '../../src/routing/policy.ts'
import { quantise } from '../../src/runtime/quantise.ts'
import type { StoredEdge } from '../../src/store/store.ts'
import { candidate, routerConfig, silent } from '../routing/support.ts'

const USERS = Number(process.argv[2] ?? 100)
const RATINGS = 20
const JUDGED = 60
/** Utility that nobody notices; deviations beyond luck: as in `personabench/metrics.py`. */
const [UNNOTICED, BEYOND_LUCK] = [0.01, 1.645]
const config = routerConfig()

const { llms, questions } = loadOutcomes()
const pool = llms.map(({ name, vendor, description, price }) => candidate(name, { vendor, description, price }))
const find = (name: string) => pool.find((one) => one.name === name)

const made = (count: number, seed: number) => makeUsers(count, llms, tasksOf(questions), seeded(seed))
const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
const worthOf = (user: User, question: Question, name: string) =>
  utility(user, question, llms.find((llm) => llm.name === name) as (typeof llms)[number])

function bestSingle(): string {
  const others = made(100, 2)
  const worth = llms.map(({ name }) => meanOf(others.flatMap((user) => questions.map((q) => worthOf(user, q, name)))))
  return llms[worth.indexOf(Math.max(...worth))]!.name
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  return list
    .map((one) => ({ one, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one)
}

/** One user's twenty ratings, then differences to the baseline of what is chosen of other questions. */
async function live(policy: Policy, user: User, baseline: string, risk: number | undefined, random: Random) {
  const asked = shuffled(questions, random)
  const edges: StoredEdge[] = []
  let state: Float32Array | null = null
  const rule = { caution: config.caution, ...(risk !== undefined && { risk }) }
  const chosenFor = async (question: Question, explore: boolean) => {
    const embedding = await policy.embedder.embed(question.query)
    const deadline = performance.now() + 60_000
    const promptTokens = tokensOf(question.query.length)
    const query = { tenant: 'acme', embedding, promptTokens, state, baseline, deadline }
    const [scores, caution] = [await policy.router.score(query, pool), await cautionFor(policy, rule, query, pool)]
    const { chosen } = choose({
      scores,
      by: 'graph',
      limits: { needs: new Set(), promptTokens, maxTokens: null },
      explicit: null,
      stated: null,
      rewards: edges.length,
      explore,
      previous: null,
      baseline: { candidate: baseline, routed: 1, why: 'baseline' },
      policy: { ...config, caution },
      random: random(),
    })
    return { name: chosen.candidate.name, reading: chosen.reading as Float32Array }
  }
  const lived: number[] = []
  for (const [seq, question] of asked.slice(0, RATINGS).entries()) {
    const { name, reading } = await chosenFor(question, true)
    const worth = worthOf(user, question, name)
    lived.push(worth - worthOf(user, question, baseline))
    edges.push({
      ...{ id: `e${seq}`, seq, ts: 0, candidate: name, kind: 'rating', weight: 1, vector: null },
      reading: quantise(reading),
      reader: policy.router.artifact.manifest.reader ?? '',
      reward: 2 * ratingOf(worth, random) - 1,
      promptTokens: tokensOf(question.query.length),
      completionTokens: tokensOf(question.chars[name] ?? 0),
      costUsd: costOf(question, llms.find((llm) => llm.name === name) as (typeof llms)[number]),
    })
    state = (await rebuild(policy, 'acme', edges, find)).state
  }
  const judged = asked.slice(RATINGS, RATINGS + JUDGED)
  const names = await Promise.all(judged.map(async (question) => (await chosenFor(question, false)).name))
  return { lived, after: judged.map((q, i) => worthOf(user, q, names[i]!) - worthOf(user, q, baseline)) }
}

function isWorseOff(differences: readonly number[]): boolean {
  const mean = meanOf(differences)
  const variance = meanOf(differences.map((one) => (one - mean) ** 2)) / (differences.length - 1)
  return mean < -Math.max(UNNOTICED, BEYOND_LUCK * Math.sqrt(variance))
}

const policies = await Policies.open({
  config: routerConfig({
    artifact: fileURLToPath(new URL('../../router-model/artifacts/current', import.meta.url)),
    // A busy machine is no reason to choose otherwise.
    deadline_ms: 60_000,
  }),
  openEmbedder: (artifact) => openEmbedder('static', artifact),
  loadEvidence: async () => new Map(),
  candidatesOf: () => pool,
  log: silent,
})
const policy = policies.snapshot('acme', 'ann').policy as Policy
const baseline = bestSingle()
console.log(`${USERS} users, ${pool.length} candidates, baseline ${baseline}, artifact ${policy.version}`)
console.log('risk   worse off after 20   mean gain after 20   mean gain in the 20, exploration included')
for (const risk of [undefined, 0.2, 0.1]) {
  const found = []
  for (const [i, user] of made(USERS, 1).entries()) found.push(await live(policy, user, baseline, risk, seeded(i)))
  const worse = found.filter(({ after }) => isWorseOff(after)).length / USERS
  const figures = [found.flatMap(({ after }) => after), found.flatMap(({ lived }) => lived)].map(meanOf)
  console.log(
    `${String(risk ?? 'none').padEnd(4)} ${`${(100 * worse).toFixed(1)} %`.padStart(21)} ${figures
      .map((gain) => gain.toFixed(4).padStart(20))
      .join(' ')}`,
  )
}
policies.close()
process.exit(0)
