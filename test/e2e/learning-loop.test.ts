import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { candidatesOf } from '../../demo/gateway-process.ts'
import { type Llm, loadOutcomes, type Question, tasksOf } from '../../demo/outcomes.ts'
import { play } from '../../demo/play.ts'
import { seeded } from '../../demo/random.ts'
import { startReplayServer } from '../../demo/replay-server.ts'
import { Mean } from '../../demo/tally.ts'
import { makeUsers, type User, utility } from '../../demo/users.ts'
import { ArtifactFolder, COMMITTED } from '../support/artifacts.ts'
import { adminCall, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { measured } from '../support/measured.ts'
import { type PythonResult, python } from '../support/python.ts'
import { exportedTo } from '../support/records.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

const SMALL_ARTIFACT = fileURLToPath(new URL('../../router-model/tests/retrain/small_artifact.py', import.meta.url))
const [TEACHERS, TURNS, EXAMINED, EXAM] = [60, 8, 40, 6]
/**
 * Unlike those that the first artifact believes in, who would rather have a cheap answer than a good one: the price is
 * nothing to them.
 */
const UNUSUAL = {
  demanding: { quality: 0.5, cost: 0, length: 0.1 },
  thorough: { quality: 0.3, cost: 0, length: 0.3 },
}
/**
 * Five hundred ratings settle a value to a tenth, not to a hundredth; and a machine that does much else is no measure
 * of latency.
 */
const WAIVED = ['evidence', 'cold_start', 'calibration', 'latency']
const MARGINS = ['--value-margin', '0.15', '--tenant-loss', '0.15']

const folder = new ArtifactFolder()
const { llms, questions } = loadOutcomes()
const taught = questions.filter((_, i) => i % 2 === 0)
const examined = questions.filter((_, i) => i % 2 === 1).slice(0, EXAM)
const everybody = makeUsers(TEACHERS + EXAMINED, llms, tasksOf(questions), seeded(7), UNUSUAL)
const teachers = everybody.slice(0, TEACHERS)
const newcomers = everybody.slice(TEACHERS)

let redis: RedisServer
let replay: Awaited<ReturnType<typeof startReplayServer>>
let gateway: RunningGateway
/** What each user has of the gateway: before anybody has rated, after the ratings, and after retraining. */
let atFirst: number[]
let rated: number[]
let after: number[]
let retrained: PythonResult
let version: string

const policies = async () =>
  (await (await adminCall(gateway, '/status')).json()).policies as { policy: string; error: string | null }

/** What each user would truly have of what the gateway chooses for them, over questions that nobody has asked. */
const worthTo = (users: readonly User[]) =>
  Promise.all(
    users.map(async (user) => {
      const worth = new Mean()
      for (const question of examined) worth.add(await worthOf(user, question))
      return worth.mean
    }),
  )

async function worthOf(user: User, question: Question): Promise<number> {
  const { chosen } = await explain(gateway, question.query, { user: user.id })
  return utility(user, question, llms.find(({ name }) => name === chosen) as Llm)
}

beforeAll(async () => {
  const made = await python(SMALL_ARTIFACT, join(COMMITTED, 'embedder'), folder.of('first'))
  expect(made, made.stderr).toMatchObject({ code: 0 })
  folder.turnTo('first')
  ;[redis, replay] = await Promise.all([startRedis(), startReplayServer(taught)])
  gateway = await startGateway({
    store: { kind: 'redis', url: redis.url },
    providers: { replay: { kind: 'openai-compatible', base_url: replay.url, key_required: false, auth: 'none' } },
    candidates: candidatesOf(llms, 'replay'),
    // So few ratings must tell of every LLM.
    router: { artifact: folder.current, required: true, gamma: { base: 4, per_reward: 0 }, exploration_seed: 7 },
  })
  atFirst = await worthTo(everybody)
  await play({ gateway, users: teachers, questions: taught, llms, turns: TURNS, seed: 7 })
  rated = await worthTo(everybody)

  const log = join(folder.path, 'log.jsonl')
  await eventually(
    async () => (await exportedTo(log, gateway)) >= 2 * TEACHERS * TURNS,
    'every answer and every rating is in the log',
    30_000,
  )
  retrained = await python(
    ...['-m', 'router_model', 'retrain', '--from', log, '--config', gateway.configFile],
    ...['--artifact', folder.of('first'), '--out', folder.path, '--report', join(folder.path, 'report')],
    ...['--held-out', '0.4', ...MARGINS, ...WAIVED.flatMap((gate) => ['--waive', gate])],
  )
  if (retrained.code !== 0) return
  version = await eventually(
    async () => {
      const { policy } = await policies()
      return policy !== 'first' && policy
    },
    'the gateway has taken in what was published',
    30_000,
  )
  after = await worthTo(everybody)
}, 600_000)
afterAll(async () => {
  await discard(gateway)
  await redis?.discard()
  replay?.server.close()
  folder.remove()
})

test('what was learned from the log passes the gates, and is published', () => {
  expect(retrained, retrained.stderr).toMatchObject({ code: 0 })
  for (const gate of ['golden', 'propensities', 'value', 'tenants']) {
    expect(retrained.stderr).toContain(`${gate}: passed`)
  }
  expect(existsSync(join(folder.path, 'report', 'report.md'))).toBe(true)
})

test('the running gateway serves it, without a restart', () => {
  expect(version).toMatch(/^\d{4}\.\d\d\.\d\d-\d+$/)
  expect(gateway.process.exitCode).toBeNull()
})

const difference = (these: readonly number[], those: readonly number[], from: number, to: number) => {
  const gain = new Mean()
  for (let user = from; user < to; user++) gain.add((these[user] as number) - (those[user] as number))
  return gain
}

describe.each([
  ['users who have rated', 0, TEACHERS],
  ['users who come new', TEACHERS, TEACHERS + EXAMINED],
])('%s', (who, from, to) => {
  test('get answers that are truly worth more to them than at first', () => {
    const gain = difference(after, atFirst, from, to)
    measured(
      `gain of ${who} by the whole loop`,
      `${gain.mean.toFixed(3)}, standard error ${gain.standardError.toFixed(3)}`,
    )
    expect(gain.mean).toBeGreaterThan(4 * gain.standardError)
    expect(gain.mean).toBeGreaterThan(0.1)
  })

  // Ratings teach the gateway at once, of LLMs too: retraining must keep that. Newcomers are all sent alike, so that
  // one close call moves them all.
  test('keep by retraining what the ratings had taught at once', () => {
    const [atOnce, kept] = [difference(rated, atFirst, from, to), difference(after, atFirst, from, to)]
    measured(`gain of ${who} at once`, `${atOnce.mean.toFixed(3)}, standard error ${atOnce.standardError.toFixed(3)}`)
    expect(kept.mean).toBeGreaterThanOrEqual(0.75 * atOnce.mean)
  })
})

test('what they had rated is not forgotten under the new version', async () => {
  expect((await explain(gateway, 'Why?', { user: teachers[0]!.id })).user.rewards).toBe(TURNS)
  expect((await explain(gateway, 'Why?', { user: newcomers[0]!.id })).user.rewards).toBe(0)
})

test('a damaged one is refused, and the retrained one stays', async () => {
  cpSync(folder.of(version), folder.of('damaged'), { recursive: true })
  const graph = join(folder.of('damaged'), 'user.onnx')
  writeFileSync(graph, readFileSync(graph).fill(0, 100, 200))
  folder.turnTo('damaged')
  const { error, policy } = await eventually(
    async () => {
      const now = await policies()
      return now.error !== null && now
    },
    'the damage is noticed',
    20_000,
  )
  expect(error).toMatch(/^hash: user\.onnx/)
  expect(policy).toBe(version)
})

test('and the first one is back by a rollback', async () => {
  const { status } = await adminCall(gateway, '/artifact/rollback', { body: { version: 'first' } })
  expect(status).toBe(200)
  expect((await policies()).policy).toBe('first')
  expect((await explain(gateway, 'Why?', { user: teachers[0]!.id })).user.rewards).toBe(TURNS)
})
