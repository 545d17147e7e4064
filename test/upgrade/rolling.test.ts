import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import { Balancer } from '../support/balancer.ts'
import { call, complete, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import type { Upstream } from '../support/upstream.ts'
import { fixtures, readFixture } from './fixture.ts'
import { QUESTIONS } from './live.ts'
import { exportedLines } from './observe.ts'
import { differences } from './same.ts'
import { startProvider, worldConfig } from './world.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const USERS = Array.from({ length: 12 }, (_, i) => `user-${i}`)
const IN_FLIGHT = 6
/** Answers between two steps of the upgrade. */
const BETWEEN = 60

/** Of the versions that fixtures are of, the oldest, whose forms differ the most; or each (`ROLLING=all`). */
const earlier = fixtures()
  .filter((name) => name.endsWith('/redis'))
  .map((name) => ({ name, ...readFixture(name) }))
  .sort((a, b) => a.madeAt - b.madeAt)
  .slice(0, process.env.ROLLING === 'all' ? undefined : 1)

/** The source of a version, as git has it; null where the history is not there. */
function sourceOf(commit: string): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 256 * 1024 * 1024 })
  try {
    git('cat-file', '-e', `${commit}^{commit}`)
  } catch {
    return null
  }
  const around = mkdtempSync(join(tmpdir(), 'old-version-'))
  const folder = join(around, 'old')
  mkdirSync(folder)
  const input = git('archive', '--format=tar', commit, 'src', 'config', 'package.json', 'package-lock.json')
  execFileSync('tar', ['-x', '-C', folder], { input })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  installWhatIsGone(folder, around)
  return folder
}

/** Packages that the old version needs and this one has no more: Node looks for them in the folder around it, too. */
function installWhatIsGone(folder: string, around: string): void {
  const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const { packages } = json('package-lock.json')
  const gone = Object.keys(json('package.json').dependencies)
    .filter((name) => !existsSync(join(ROOT, 'node_modules', name)))
    .map((name) => `${name}@${packages[`node_modules/${name}`].version}`)
  if (gone.length === 0) return
  const options = ['--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund']
  execFileSync('npm', ['install', '--prefix', around, ...options, ...gone], { cwd: around, stdio: 'pipe' })
}

const versions = earlier.map(({ name, commit }) => {
  const source = sourceOf(commit)
  if (source === null) {
    process.stderr.write(`rolling upgrade: skipped, commit ${commit} is not there (git fetch --unshallow)\n`)
  }
  return { name, source: source ?? '', isThere: source !== null }
})

describe.each(versions)('two replicas of $name are replaced one by one, under load', ({ source, isThere }) => {
  let redis: RedisServer
  let provider: Upstream
  let balancer: Balancer
  const running: RunningGateway[] = []
  afterAll(async () => {
    await balancer?.close()
    await Promise.all(running.map(discard))
    await redis?.discard()
    await provider?.close()
    if (isThere) rmSync(dirname(source), { recursive: true, force: true })
  })

  const start = async (root = ROOT) => {
    const config = worldConfig(provider.origin, { kind: 'redis', url: redis.url })
    const gateway = await startGateway(
      { ...config, server: { drain_delay_ms: 1_000 } },
      { root, program: 'src/cli/cli.ts' },
    )
    running.push(gateway)
    return gateway
  }

  test.skipIf(!isThere)(
    'no request fails, and nothing is lost',
    async () => {
      redis = await startRedis()
      provider = await startProvider()
      const [first, second] = await Promise.all([start(source), start(source)])
      balancer = await Balancer.start(first.url, second.url)
      const load = startLoad({ url: balancer.url, baseURL: `${balancer.url}/v1`, key: TEST_KEY })
      await load.goesOn()

      const third = await start()
      balancer.add(third.url)
      await load.goesOn()
      // One of each: either reads what the other has just written.
      await load.pause(() => sameBeliefs(second, third))
      await leaves(first)
      await load.goesOn()
      const fourth = await start()
      balancer.add(fourth.url)
      await load.goesOn()
      await load.pause(() => sameBeliefs(second, fourth))
      await leaves(second)
      await load.goesOn()
      const { failures, answers, ratings } = await load.stop()

      expect(failures).toEqual([])
      const rows = await exportedLines(fourth, {}, answers)
      const count = (of: Map<string, number>, id: string) => of.set(id, (of.get(id) ?? 0) + 1)
      const [seen, rated] = [new Map<string, number>(), new Map<string, number>()]
      for (const { type, id, interaction, kind } of rows) {
        if (type === 'interaction') count(seen, id as string)
        else if (kind === 'rating') count(rated, interaction as string)
      }
      expect(answers.filter(({ request }) => seen.get(request) !== 1)).toEqual([])
      await eventually(async () => {
        const now = new Set((await exportedLines(fourth, {})).map(({ interaction }) => interaction))
        return answers.every(({ request }) => now.has(request))
      }, 'every rating is in the log')
      // What each user has been heard to say, by all four.
      for (const user of USERS) {
        await eventually(async () => (await ratingsOf(fourth, user)) === ratings.get(user), `all ratings of ${user}`)
      }

      async function leaves(gateway: RunningGateway): Promise<void> {
        const gone = gateway.stop('SIGTERM')
        await eventually(
          async () => !(await fetch(`${gateway.url}/readyz`).catch(() => ({ ok: false }))).ok,
          'it drains',
        )
        await balancer.check()
        balancer.remove(gateway.url)
        expect(await gone).toBe(0)
      }
      async function sameBeliefs(one: RunningGateway, other: RunningGateway): Promise<void> {
        const of = async (gateway: RunningGateway, user: string) => {
          const { user: known, candidates } = await explain(gateway, QUESTIONS[0] as string, { user })
          return { known, scores: candidates.map(({ name, mean }) => ({ name, mean })) }
        }
        for (const user of USERS) {
          await eventually(
            async () => differences(await of(one, user), await of(other, user)).length === 0,
            `${user} is the same to both`,
          )
        }
      }
    },
    300_000,
  )
})

const ratingsOf = async (gateway: RunningGateway, user: string) =>
  (await (await call(gateway, `/v1/users/${user}/profile`)).json()).rewards_counted as number

/** Users who ask, rate what they got, and go on with a chain of responses; each request by whichever replica. */
function startLoad(gateway: Pick<RunningGateway, 'url' | 'baseURL' | 'key'>) {
  const failures: string[] = []
  const answers: { request: string }[] = []
  const ratings = new Map<string, number>()
  const chains = new Map<string, string>()
  let stopping = false
  let held: Promise<unknown> = Promise.resolve()
  let inWork = 0
  let asked = 0

  const checked = async (what: string, response: Promise<Response>): Promise<Response | null> => {
    try {
      const had = await response
      if (had.ok) return had
      failures.push(`${what}: ${had.status} ${await had.text()}`)
    } catch (error) {
      failures.push(`${what}: ${(error as Error).message}`)
    }
    return null
  }
  /** One at a time a user: what they are heard to have said is a number that grows by one. */
  async function one(user: string, turn: number): Promise<void> {
    const messages = [{ role: 'user', content: QUESTIONS[turn % QUESTIONS.length] }]
    const headers = { 'x-conversation-id': `${user}-${turn}` }
    const answer = await checked(
      'completion',
      complete(gateway, { messages, stream: turn % 3 === 0 }, { user, headers }),
    )
    if (!answer) return
    await answer.text()
    const request = answer.headers.get('x-request-id') ?? ''
    answers.push({ request })
    const body = { request_id: request, rating: turn % 2 === 0 ? 'up' : 'down' }
    if (await checked('feedback', call(gateway, '/v1/feedback', { user, body }))) {
      ratings.set(user, (ratings.get(user) ?? 0) + 1)
    }
    if (turn % 4 !== 0) return
    const previous = chains.get(user)
    const next = { model: 'cheap', input: 'Go on.', ...(previous !== undefined && { previous_response_id: previous }) }
    const response = await checked('response', call(gateway, '/v1/responses', { user, body: next }))
    if (response) chains.set(user, (await response.json()).id)
  }
  const workers = Array.from({ length: IN_FLIGHT }, async (_, worker) => {
    for (let turn = 0; !stopping; turn++) {
      for (const user of USERS.filter((_, u) => u % IN_FLIGHT === worker)) {
        await held
        inWork++
        await one(user, turn)
        inWork--
      }
      asked++
      await sleep(20)
    }
  })
  return {
    /** Resolves after some more answers. */
    goesOn: async () => {
      const until = answers.length + BETWEEN
      await eventually(() => answers.length >= until || failures.length > 0, 'answers go on', 60_000)
    },
    /** Nothing is asked meanwhile. */
    pause: async (work: () => Promise<void>) => {
      const { promise, resolve: goOn } = Promise.withResolvers<void>()
      held = promise
      await eventually(() => inWork === 0, 'nothing is in work', 30_000)
      await work()
      goOn()
    },
    stop: async () => {
      stopping = true
      await Promise.all(workers)
      expect(asked).toBeGreaterThan(0)
      return { failures, answers, ratings }
    },
  }
}
