import { Command } from 'commander'
import { killLoop } from './kills.ts'
import { soak } from './soak.ts'

const tell = (line: string) => process.stderr.write(`${line}\n`)

/**
 * `npm run soak -- --minutes 10`, or `npm run soak -- --kills 50`; ends with 1 when something was lost, doubled or
 * leaked.
 */
const { minutes, kills } = new Command('soak')
  .option('--minutes <n>', 'mixed traffic and faults for so long', Number, 10)
  .option('--kills <n>', 'instead: kill -9 of the gateway, of Redis and of both, so often', Number)
  .parse()
  .opts<{ minutes: number; kills?: number }>()

if (kills !== undefined) {
  const report = await killLoop(kills, {}, tell)
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  process.exitCode = report.lost.length + report.doubled.length > 0 ? 1 : 0
} else {
  const report = await soak(minutes, tell)
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
  process.exitCode = report.problems.length > 0 ? 1 : 0
}
