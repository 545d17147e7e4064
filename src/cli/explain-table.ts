import { z } from 'zod'

const row = z.looseObject({
  name: z.string(),
  excluded: z.string().nullish(),
  mean: z.number().nullish(),
  std: z.number().nullish(),
  quality: z.number().nullish(),
  predicted_cost_usd: z.number().nullish(),
  completion_tokens: z.number().nullish(),
  propensity: z.number().nullish(),
})
const explanation = z.looseObject({
  chosen: z.string(),
  reason: z.string(),
  policy: z.string(),
  stated: z.object({ task: z.string(), candidate: z.string(), why_not: z.string().nullable() }).nullish(),
  candidates: z.array(row),
})

/** The answer of `/v1/router/explain` as a table for a terminal; null for what is none. */
export function explainTable(answer: unknown): string | null {
  const parsed = explanation.safeParse(answer)
  if (!parsed.success) return null
  const { chosen, reason, policy, stated, candidates } = parsed.data
  const whyNot = stated?.why_not ? `; not this time: ${stated.why_not}` : ''
  const why = stated ? `\nstated: ${stated.candidate} for ${stated.task}${whyNot}` : ''
  const cell = (value: number | null | undefined, digits: number) => (value == null ? '–' : value.toFixed(digits))
  const rows = candidates.map((entry) => [
    entry.name === chosen ? `> ${entry.name}` : `  ${entry.name}`,
    entry.excluded ?? `${cell(entry.mean, 3)} ± ${cell(entry.std, 3)}`,
    cell(entry.quality, 2),
    entry.predicted_cost_usd == null ? '–' : `$${entry.predicted_cost_usd.toPrecision(2)}`,
    cell(entry.completion_tokens, 0),
    cell(entry.propensity, 3),
  ])
  const table = [['  candidate', 'expected reward', 'quality', 'cost', 'tokens', 'propensity'], ...rows]
  const widths = table[0]?.map((_, column) => Math.max(...table.map((line) => line[column]?.length ?? 0))) ?? []
  const lines = table.map((line) =>
    line
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return `${chosen} (${reason}), policy ${policy}${why}\n\n${lines.join('\n')}\n`
}
