// Makes each deliberate mistake of `mutations.ts` in a copy of the repository and runs the tests that must notice it.
//   npm run test:mutations                        all of them (about twenty minutes)
//   npm run test:mutations -- quota batch.lua     those whose file or rule has one of these words
//   npm run test:mutations -- --shard 2/3         every third of them, the second first: several at once on more cores
import { parseArgs } from 'node:util'
import { type Mutation, placeOf, Scratch, type Verdict } from './lane.ts'
import { MUTATIONS } from './mutations.ts'

const KILLED_AT_LEAST = 0.95

const { values, positionals: words } = parseArgs({
  options: { shard: { type: 'string', default: '1/1' } },
  allowPositionals: true,
})
const [shard = 1, shards = 1] = values.shard.split('/').map(Number)
const wanted = MUTATIONS.filter(
  ({ file, rule }) => words.length === 0 || words.some((word) => `${file} ${rule}`.includes(word)),
).filter((_, i) => i % shards === shard - 1)
const scratch = new Scratch()
process.once('SIGINT', () => {
  scratch.remove()
  process.exit(130)
})
try {
  const broken: string[] = []
  for (const test of new Set(wanted.flatMap(({ tests }) => tests))) {
    if (!(await scratch.passes(test))) broken.push(test)
  }
  if (broken.length > 0)
    console.log(`These tests fail without any mistake, and tell nothing:\n  ${broken.join('\n  ')}`)
  const verdicts = new Map<Mutation, Verdict>()
  for (const [i, mutation] of wanted.entries()) {
    const verdict = await scratch.verdict(mutation)
    verdicts.set(mutation, verdict)
    console.log(`${String(i + 1).padStart(3)}/${wanted.length}  ${verdict.padEnd(8)}  ${placeOf(mutation)}`)
  }
  const of = (verdict: Verdict) => wanted.filter((mutation) => verdicts.get(mutation) === verdict)
  for (const verdict of ['survived', 'stale'] as const) {
    for (const mutation of of(verdict)) console.log(`${verdict}: ${placeOf(mutation)}\n  ${mutation.rule}`)
  }
  const killed = of('killed').length
  console.log(`${killed} of ${wanted.length} killed (${((100 * killed) / wanted.length).toFixed(1)} %).`)
  if (broken.length > 0 || killed < KILLED_AT_LEAST * wanted.length) process.exitCode = 1
} finally {
  scratch.remove()
}
