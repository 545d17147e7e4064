import type { Tally } from './tally.ts'

const NORMAL_95 = 1.96

export function tableOf(tallies: readonly Tally[]): string[] {
  return aligned([
    ['', 'mean reward (95 %)', 'cost of 1,000', 'regret'],
    ...tallies.map(({ name, reward, cost, regret }) => [
      name,
      `${reward.mean.toFixed(3)} ± ${(NORMAL_95 * reward.standardError).toFixed(3)}`,
      `$${(cost.mean * 1000).toFixed(2)}`,
      regret.mean.toFixed(3),
    ]),
  ])
}

/** Rows of as many cells each: the first to the left, the others to the right. */
export function aligned(rows: readonly string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)))
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[i] as number)))
      .join('   ')
      .trimEnd(),
  )
}
