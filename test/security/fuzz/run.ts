import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { HttpTarget, mutateHttp } from './http.ts'
import { corpus, mutate, randomFrom, targets } from './targets.ts'

/** `npm run fuzz -- --minutes 5`: what breaks a rule is kept in the corpus, and ends the run with 1. */
const { minutes, seed, only } = new Command('fuzz')
  .option('--minutes <n>', 'over all targets', Number, 2)
  .option('--seed <n>', 'of the mutations', Number, Date.now() % 1e9)
  .option('--only <target>', 'json, sse or http')
  .parse()
  .opts<{ minutes: number; seed: number; only?: string }>()

const http = await HttpTarget.start()
const all = {
  ...Object.fromEntries(Object.entries(targets).map(([name, check]) => [name, { check, change: mutate }])),
  http: { check: (bytes: Buffer, random: () => number) => http.run(bytes, random), change: mutateHttp },
}
const chosen = Object.entries(all).filter(([name]) => only === undefined || name === only)
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
