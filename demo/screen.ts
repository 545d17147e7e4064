import { tableOf } from './table.ts'
import type { Tally } from './tally.ts'

const BAR = 30
const LINE_EVERY = 0.1

/** A bar and a table that are drawn over their last picture on a terminal; elsewhere a line now and then. */
export class Screen {
  readonly #total: number
  readonly #tallies: readonly Tally[]
  #drawn = 0
  #nextLine = LINE_EVERY

  constructor(total: number, tallies: readonly Tally[]) {
    this.#total = total
    this.#tallies = tallies
  }

  draw(done: number): void {
    const share = done / this.#total
    if (process.stdout.isTTY) this.#redraw(done, share)
    else if (share >= this.#nextLine) this.#line(share)
  }

  /** The last picture stays. */
  finish(done: number): void {
    if (process.stdout.isTTY) this.#redraw(done, done / this.#total)
    else process.stdout.write(`\n${tableOf(this.#tallies).join('\n')}\n`)
  }

  #line(share: number): void {
    this.#nextLine = (Math.floor(share / LINE_EVERY) + 1) * LINE_EVERY
    const means = this.#tallies.map(({ name, reward }) => `${name} ${reward.mean.toFixed(3)}`)
    process.stdout.write(`${String(Math.round(share * 100)).padStart(3)} %  mean reward: ${means.join(', ')}\n`)
  }

  #redraw(done: number, share: number): void {
    const filled = Math.round(share * BAR)
    const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${done} of ${this.#total} requests`
    const lines = [bar, '', ...tableOf(this.#tallies)]
    const back = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : ''
    process.stdout.write(back + lines.map((line) => `\x1b[2K${line}\n`).join(''))
    this.#drawn = lines.length
  }
}
