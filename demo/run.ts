import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import OpenAI from 'openai'
import { stringify } from 'yaml'
import { learningCurve, sparkline } from './chart.ts'
import { costOf, type Llm, loadOutcomes, type Question } from './outcomes.ts'
import { seeded } from './random.ts'
import { startReplayServer } from './replay-server.ts'
import { Screen, tableOf } from './screen.ts'
import { Tally } from './tally.ts'
import { makeUsers, ratingOf, type User, utility } from './users.ts'

const { values: options } = parseArgs({
  options: {
    users: { type: 'string', default: '200' },
    seconds: { type: 'string', default: '60' },
    turns: { type: 'string', default: '40' },
    seed: { type: 'string', default: '1' },
    out: { type: 'string', default: 'data/demo' },
  },
})
const ROOT = resolve(import.meta.dirname, '..')
const KEY = 'pr-demo-key-0123456789abcdef'
const IN_FLIGHT = 16

const random = seeded(Number(options.seed))
const { llms, questions } = loadOutcomes()
const users = makeUsers(Number(options.users), llms, random)
const turns = Number(options.turns)
const total = users.length * turns
const deadline = performance.now() + Number(options.seconds) * 1000
const byName = new Map(llms.map((llm) => [llm.name, llm]))

const personal = new Tally('personal router')
const single = new Tally('best single')
const cheapest = new Tally('cheapest')
const anyone = new Tally('random')
const tallies = [personal, single, cheapest, anyone]

/** Best for all users together, in hindsight: what a team without a router could choose at best. */
const bestSingle = most(llms, (llm) => sum(users, (user) => sum(questions, (question) => utility(user, question, llm))))
const cheap = most(llms, ({ price }) => -price.output)

process.stdout.write(
  `${users.length} simulated users ask ${questions.length} recorded questions (ZeroEval, test fold) of ${llms.length} LLMs through a real gateway.\n` +
    `They rate each answer; the gateway sees nothing but the ratings. Best single for all of them: ${bestSingle.name}.\n\n`,
)
const replay = await startReplayServer(questions)
const gateway = await startGateway(replay.url)
const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: KEY, maxRetries: 0 })
const screen = new Screen()
let done = 0
const redraw = setInterval(() => screen.draw(done, total, tallies), 250)

const queue = Array.from({ length: turns }, (_, turn) => users.map((user) => ({ user, turn }))).flat()
const busy = new Map<User, Promise<void>>()
await Promise.all(Array.from({ length: IN_FLIGHT }, work))

clearInterval(redraw)
screen.draw(done, total, tallies)
finish()
await gateway.stop()
replay.server.close()

async function work(): Promise<void> {
  for (let next = queue.shift(); next && performance.now() < deadline; next = queue.shift()) {
    const { user, turn } = next
    // A person reads an answer before he asks the next question.
    const before = busy.get(user)
    const mine = (before ?? Promise.resolve()).then(() => ask(user, turn))
    busy.set(user, mine)
    await mine
    done++
  }
}

async function ask(user: User, turn: number): Promise<void> {
  const question = questions[Math.floor(random() * questions.length)] as Question
  const { response } = await client.chat.completions
    .create(
      { model: 'auto', messages: [{ role: 'user', content: question.query }] },
      { headers: { 'x-user-id': user.id } },
    )
    .withResponse()
  const llm = byName.get(response.headers.get('x-router-model') ?? '') as Llm
  const worth = utility(user, question, llm)
  const request_id = response.headers.get('x-request-id')
  await client.post('/feedback', { body: { request_id, rating: ratingOf(worth, random) } })

  const best = Math.max(...llms.map((other) => utility(user, question, other)))
  const lucky = llms[Math.floor(random() * llms.length)] as Llm
  for (const [tally, choice] of [
    [personal, llm],
    [single, bestSingle],
    [cheapest, cheap],
    [anyone, lucky],
  ] as const) {
    tally.add(turn, utility(user, question, choice), costOf(question, choice), best)
  }
}

function finish(): void {
  const out = resolve(options.out)
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, 'learning-curve.svg'), learningCurve(tallies))
  writeFileSync(
    join(out, 'result.json'),
    `${JSON.stringify(
      tallies.map(({ name, reward, cost, regret, byTurn }) => ({
        name,
        requests: reward.n,
        reward: reward.mean,
        reward_se: reward.standardError,
        cost_usd: cost.mean,
        regret: regret.mean,
        reward_by_turn: byTurn.map(({ mean }) => mean),
      })),
      null,
      2,
    )}\n`,
  )
  const gain = personal.reward.mean - single.reward.mean
  process.stdout.write(
    [
      '',
      ...(process.stdout.isTTY ? [] : tableOf(tallies)),
      `reward of the personal router by the user's n-th request: ${sparkline(personal)}`,
      `${gain >= 0 ? 'gain' : 'loss'} against the best single LLM: ${gain.toFixed(3)} in reward, ${percent(1 - personal.cost.mean / single.cost.mean)} in cost`,
      `picture: ${join(out, 'learning-curve.svg')}`,
      '',
    ].join('\n'),
  )
}

async function startGateway(providerUrl: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-demo-'))
  const config = join(dir, 'gateway.yaml')
  writeFileSync(
    config,
    stringify({
      server: { port: 0 },
      store: { kind: 'sqlite', path: join(dir, 'demo.db') },
      spool: { path: join(dir, 'spool') },
      providers: { replay: { kind: 'openai-compatible', base_url: providerUrl, key_required: false, auth: 'none' } },
      candidates: llms.map(({ name, vendor, description, price }) => ({
        name,
        vendor,
        description,
        price,
        provider: 'replay',
      })),
      tenants: [{ name: 'demo', keys: [KEY] }],
    }),
  )
  const child = spawn(process.execPath, [join(ROOT, 'src/cli.ts'), 'serve', '--config', config], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise<void>((gone) => child.once('exit', () => gone()))
  const port = await new Promise<string>((listening, fail) => {
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      if (text.length < 65_536) text += chunk.toString()
      const found = /"port":(\d+)[^\n]*"msg":"listening"/.exec(text)
      if (found) listening(found[1] as string)
    })
    child.once('exit', () => fail(new Error(`the gateway did not start:\n${text}`)))
  })
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGTERM')
      await exited
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function most<T>(items: readonly T[], worth: (item: T) => number): T {
  return items.reduce((best, item) => (worth(item) > worth(best) ? item : best))
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}

const percent = (share: number) => `${share >= 0 ? 'saves ' : 'adds '}${Math.abs(Math.round(share * 100))} %`
