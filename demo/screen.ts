import type { Tally } from './tally.ts'

const BAR = 30

/** Draws over its own last picture on a terminal; elsewhere prints a line now and then. */
export class Screen {
  #lines = 0
  #nextLine = 0

  draw(done: number, total: number, tallies: readonly Tally[]): void {
    const share = done / total
    if (!process.stdout.isTTY) {
      if (share < this.#nextLine) return
      this.#nextLine += 0.1
      process.stdout.write(
        `${Math.round(share * 100)} %: ${tallies.map((t) => `${t.name} ${t.reward.mean.toFixed(3)}`).join(', ')}\n`,
      )
      return
    }
    const filled = Math.round(share * BAR)
    const text = [
      `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${done} of ${total} requests`,
      '',
      ...tableOf(tallies),
    ]
    process.stdout.write(
      `${this.#lines > 0 ? `\x1b[${this.#lines}A` : ''}${text.map((line) => `\x1b[2K${line}\n`).join('')}`,
    )
    this.#lines = text.length
  }
}

export function tableOf(tallies: readonly Tally[]): string[] {
  const rows = tallies.map(({ name, reward, cost, regret }) => [
    name,
    `${reward.mean.toFixed(3)} ± ${(1.96 * reward.standardError).toFixed(3)}`,
    `$${(cost.mean * 1000).toFixed(2)}`,
    regret.mean.toFixed(3),
  ])
  const all = [['', 'mean reward (95 %)', 'cost of 1,000', 'regret'], ...rows]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((row) => (row[column] as string).length)))
  return all.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[i] as number))).join('   '),
  )
}
