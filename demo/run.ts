import { parseArgs } from 'node:util'
import { bestFor, cheapestOf } from './fixed-choices.ts'
import { Frontier } from './frontier.ts'
import { startDemoGateway } from './gateway-process.ts'
import { costOf, type Llm, loadOutcomes, tasksOf } from './outcomes.ts'
import { play } from './play.ts'
import { showProviders } from './providers.ts'
import { seeded } from './random.ts'
import { startReplayServer } from './replay-server.ts'
import { report, writeResults } from './report.ts'
import { Screen } from './screen.ts'
import { shadowLines, type Worths } from './shadow.ts'
import { Tally } from './tally.ts'
import { makeUsers, utility } from './users.ts'

const HELP = `npm run demo -- [options]
  --users N      simulated users (200)
  --seconds N    at most so long (60)
  --turns N      questions of each user (40)
  --seed N       other users, other questions (1)
  --explore off  the router never tries anything out
  --artifact D   another trained model
  --shadow D     a model that scores beside it and never chooses (PersonalizedRouter's; off: none)
  --out D        where the picture and the figures go (data/demo)
  --providers    instead: requests that one model takes and another refuses, before emulators of the providers
`
const REDRAW_MS = 250
/** PersonalizedRouter's graph network, as an artifact. */
const RIVAL = 'router-model/rivals/personalized-router'
/** As shells have it: 128 + SIGINT. */
const INTERRUPTED = 130

await main()

/**
 * Simulated users ask recorded questions through a real gateway, and rate the answers: does it learn what they like?
 */
async function main(): Promise<void> {
  const options = readOptions()
  if (options === null) {
    process.stdout.write(HELP)
    return
  }
  if (options.providers) return showProviders()
  const { llms, questions } = loadOutcomes()
  const random = seeded(options.seed)
  const users = makeUsers(options.users, llms, tasksOf(questions), random)
  const single = bestFor(users, questions, llms)
  const cheapest = cheapestOf(llms)
  const personal = new Tally('personal router')
  const fixed: readonly [Tally, () => Llm][] = [
    [new Tally('best single'), () => single],
    [new Tally('cheapest'), () => cheapest],
    [new Tally('random'), () => llms[Math.floor(random() * llms.length)] as Llm],
  ]
  const frontier = new Frontier(llms.map(({ name }) => name))
  const tallies = [personal, ...fixed.map(([tally]) => tally)]
  process.stdout.write(
    `${users.length} simulated users ask ${questions.length} recorded questions of ${llms.length} LLMs through a real gateway.\n` +
      'They rate each answer; of what they like, the gateway sees nothing but these ratings.\n' +
      `Best single LLM for all of them together, in hindsight: ${single.name}.\n\n`,
  )

  const replay = await startReplayServer(questions)
  const gateway = await startDemoGateway(replay.url, llms, { ...options.router, baseline: single.name })
  const screen = new Screen(users.length * options.turns, tallies)
  let interrupted = false
  let told = ''
  let shadowed: string[] = []
  const worthsOf = new Map<string, Worths>()
  process.once('SIGINT', () => {
    interrupted = true
    // What is still asked fails, and ends the game.
    void gateway.stop()
  })
  const redraw = setInterval(() => screen.draw(personal.reward.n), REDRAW_MS)
  try {
    await play({
      ...{ gateway, users, questions, llms, turns: options.turns, seed: options.seed },
      until: performance.now() + options.seconds * 1000,
      onAnswer: ({ id, user, turn, question, llm, reason }) => {
        const worths = llms.map((one) => utility(user, question, one))
        worthsOf.set(id, new Map(llms.map(({ name }, i) => [name, worths[i] as number])))
        const best = Math.max(...worths)
        const usual = utility(user, question, single)
        const note = (tally: Tally, choice: Llm) => {
          const reward = utility(user, question, choice)
          tally.add({ persona: user.persona, turn, reward, cost: costOf(question, choice), best, usual })
        }
        note(personal, llm)
        frontier.add(
          worths[llms.indexOf(llm)] as number,
          costOf(question, llm),
          worths,
          llms.map((one) => costOf(question, one)),
        )
        personal.because(reason)
        for (const [tally, choose] of fixed) note(tally, choose())
      },
    })
    told = await gateway.report()
    if (options.router.shadow) shadowed = shadowLines(await gateway.records(), worthsOf)
  } catch (error) {
    if (!interrupted) throw error
    process.exitCode = INTERRUPTED
  } finally {
    clearInterval(redraw)
    await gateway.stop()
    replay.server.close()
  }
  screen.finish(personal.reward.n)
  const picture = writeResults(options.out, tallies, frontier.compare())
  const missing = users.length * options.turns - personal.reward.n
  if (missing > 0)
    process.stdout.write(`(${options.seconds} s were over before ${missing} more requests could be made)\n`)
  const lines = [...report(tallies, frontier.compare()), ...(shadowed.length > 0 ? ['', ...shadowed] : [])]
  process.stdout.write(`\n${lines.join('\n')}\n\npicture: ${picture}\n`)
  process.stdout.write(`\nWhat the gateway itself knows, from its log (persona-router report):\n\n${told}`)
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      users: { type: 'string', default: '200' },
      seconds: { type: 'string', default: '60' },
      turns: { type: 'string', default: '40' },
      seed: { type: 'string', default: '1' },
      explore: { type: 'string', default: 'on' },
      artifact: { type: 'string' },
      shadow: { type: 'string', default: RIVAL },
      out: { type: 'string', default: 'data/demo' },
      providers: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  return {
    users: atLeastOne('users', values.users),
    seconds: atLeastOne('seconds', values.seconds),
    turns: atLeastOne('turns', values.turns),
    seed: atLeastOne('seed', values.seed),
    out: values.out,
    providers: values.providers,
    router: {
      explore: values.explore !== 'off',
      // What is shown is what it learns, not what a machine that does much else makes of it.
      deadline_ms: 1_000,
      exploration_seed: atLeastOne('seed', values.seed),
      ...(values.artifact !== undefined && { artifact: values.artifact }),
      ...(values.shadow !== 'off' && { shadow: values.shadow }),
    },
  }
}

function atLeastOne(name: string, text: string): number {
  const value = Number(text)
  if (!(Number.isInteger(value) && value >= 1)) throw new Error(`--${name} ${text}: a whole number from 1 on`)
  return value
}
