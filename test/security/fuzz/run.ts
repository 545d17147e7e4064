import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { corpus, mutate, randomFrom, targets } from './targets.ts'

/** `npm run fuzz -- --minutes 5`: what breaks a rule is kept in the corpus, and ends the run with 1. */
const { minutes, seed } = new Command('fuzz')
  .option('--minutes <n>', 'over all targets', Number, 2)
  .option('--seed <n>', 'of the mutations', Number, Date.now() % 1e9)
  .parse()
  .opts<{ minutes: number; seed: number }>()

const random = randomFrom(seed)
const names = Object.keys(targets)
for (const name of names) {
  const inputs = corpus(name)
  const until = performance.now() + (minutes * 60_000) / names.length
  let runs = 0
  for (; performance.now() < until; runs++) {
    const bytes = mutate(inputs, random)
    try {
      targets[name]?.(bytes, random)
    } catch (error) {
      const file = new URL(`corpus/found-${seed}-${runs}.${name}.bin`, import.meta.url)
      writeFileSync(file, bytes)
      console.error(`${name}: ${(error as Error).message}\nkept as ${file.pathname}`)
      process.exit(1)
    }
  }
  console.log(`${name}: ${runs} inputs, seed ${seed}`)
}
