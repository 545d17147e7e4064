import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { pythonWithSdks } from '../../emulators/python/reader.ts'
import { TransparencyTarget } from '../../emulators/transparency.ts'
import { casesOf, FramingTarget, STREAMS } from './framing.ts'
import { HttpTarget, mutateHttp } from './http.ts'
import { PythonFraming } from './python.ts'
import { corpus, mutate, randomFrom, targets } from './targets.ts'

/**
 * `npm run fuzz -- --minutes 5`: what breaks a rule is kept in the corpus, and ends the run with 1. `npm run fuzz --
 * framing`: streams of every kind, cut at every byte.
 */
const command = new Command('fuzz')
  .argument('[part]', 'bytes, framing or transparency', 'bytes')
  .option('--requests <n>', 'of transparency', Number, 10_000)
  .option('--no-dialects', 'of transparency: candidates are known by their refusals alone')
  .option('--no-python', 'do not read a tenth of the answers with the Python SDKs, too')
  .option('--minutes <n>', 'over all targets', Number, 2)
  .option('--seed <n>', 'of the mutations', Number, Date.now() % 1e9)
  .option('--only <target...>', 'json, sse or http; of framing some of its streams')
  .parse()
const { minutes, seed, only, requests, dialects, python } = command.opts<{
  dialects: boolean
  python: boolean
  minutes: number
  seed: number
  only?: string[]
  requests: number
}>()
/** Of all cuts. */
const PYTHON_SHARE = 0.1

if (command.args[0] === 'framing') {
  await fuzzFraming()
  process.exit()
}
if (command.args[0] === 'transparency') {
  await fuzzTransparency()
  process.exit()
}

const http = await HttpTarget.start()
const all = {
  ...Object.fromEntries(Object.entries(targets).map(([name, check]) => [name, { check, change: mutate }])),
  http: { check: (bytes: Buffer, random: () => number) => http.run(bytes, random), change: mutateHttp },
}
const chosen = Object.entries(all).filter(([name]) => only?.includes(name) ?? true)
const random = randomFrom(seed)
for (const [name, { check, change }] of chosen) {
  const inputs = corpus(name)
  const until = performance.now() + (minutes * 60_000) / chosen.length
  let runs = 0
  for (; performance.now() < until; runs++) {
    const bytes = change(inputs, random)
    try {
      await check(bytes, random)
    } catch (error) {
      const file = new URL(`corpus/found-${seed}-${runs}.${name}.bin`, import.meta.url)
      writeFileSync(file, bytes)
      console.error(`${name}: ${(error as Error).message}\nkept as ${file.pathname}`)
      process.exitCode = 1
      break
    }
  }
  console.log(`${name}: ${runs} inputs, seed ${seed}`)
}
console.log(`http: ${http.forwarded} requests reached the provider`)
await http.stop()

async function fuzzFraming(): Promise<void> {
  const target = await FramingTarget.start()
  await target.learn()
  const random = randomFrom(seed)
  const reader = python ? new PythonFraming(pythonWithSdks()) : null
  for (const stream of Object.keys(STREAMS).filter((name) => only?.includes(name) ?? true)) {
    const started = performance.now()
    let broken = 0
    const onBroken = (error: Error) => {
      broken++
      console.error(error.message)
    }
    const cases = casesOf(stream, 1, random)
    const inPython = cases.filter(() => reader !== null && random() < PYTHON_SHARE)
    const inNode = cases.filter((playing) => !inPython.includes(playing))
    await Promise.all([
      target.runAll(inNode, onBroken),
      reader && target.runAll(inPython, onBroken, (playing, where) => reader.ask(playing, where), 4),
    ])
    const took = `${Math.round((performance.now() - started) / 1_000)} s`
    const counts = `${cases.length} cuts (${inPython.length} in Python), ${broken} torn or untold`
    console.log(`${stream}: ${counts}, seed ${seed}, ${took}`)
    if (broken > 0) process.exitCode = 1
  }
  reader?.stop()
  await target.stop()
}

async function fuzzTransparency(): Promise<void> {
  const target = await TransparencyTarget.start({ dialects, python })
  const random = randomFrom(seed)
  for (let i = 0; i < requests; i++) {
    await target.run(random)
    if ((i + 1) % 1_000 === 0) console.log(`${i + 1} requests`)
  }
  const { problems, ...totals } = target.totals
  console.log(JSON.stringify({ seed, ...totals }, null, 2))
  for (const problem of problems) console.error(problem)
  if (totals.refused + totals.lost + totals.surprises > 0) process.exitCode = 1
  await target.stop()
}
