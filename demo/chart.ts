import type { Tally } from './tally.ts'

const [WIDTH, HEIGHT, MARGIN] = [760, 420, 56]
const COLOURS = ['#1f6feb', '#8c959f', '#bf8700', '#cf222e']
/** Turns that are drawn as one point. */
const BUCKET = 3

/** Mean reward by the user's n-th request, as SVG. */
export function learningCurve(tallies: readonly Tally[]): string {
  const curves = tallies.map(({ byTurn }) => smooth(byTurn.map(({ mean }) => mean)))
  const turns = Math.max(...curves.map((curve) => curve.length))
  const values = curves.flat()
  const [low, high] = [Math.min(...values) - 0.02, Math.max(...values) + 0.02]
  const x = (turn: number) => MARGIN + (turn / Math.max(1, turns - 1)) * (WIDTH - 2 * MARGIN)
  const y = (value: number) => HEIGHT - MARGIN - ((value - low) / (high - low)) * (HEIGHT - 2 * MARGIN)
  const lines = curves.map((curve, i) => {
    const points = curve.map((value, turn) => `${x(turn).toFixed(1)},${y(value).toFixed(1)}`).join(' ')
    return `<polyline fill="none" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="${i === 0 ? 3 : 1.5}" points="${points}"/>`
  })
  const legend = tallies.map(
    ({ name }, i) => `<text x="${MARGIN + 10 + i * 170}" y="24" fill="${COLOURS[i % COLOURS.length]}">${name}</text>`,
  )
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const value = low + share * (high - low)
    return `<text x="8" y="${y(value) + 4}" fill="#57606a">${value.toFixed(2)}</text><line x1="${MARGIN}" x2="${WIDTH - MARGIN}" y1="${y(value)}" y2="${y(value)}" stroke="#d0d7de" stroke-width="0.5"/>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="13">`,
    '<rect width="100%" height="100%" fill="white"/>',
    ...ticks,
    ...lines,
    ...legend,
    `<text x="${WIDTH / 2}" y="${HEIGHT - 14}" text-anchor="middle" fill="#57606a">the user's n-th request (of ${turns})</text>`,
    '</svg>',
    '',
  ].join('\n')
}

/** The same for a terminal. */
export function sparkline({ byTurn }: Tally): string {
  const curve = smooth(byTurn.map(({ mean }) => mean)).filter((_, i) => i % BUCKET === 0)
  const [low, high] = [Math.min(...curve), Math.max(...curve)]
  return curve.map((value) => '▁▂▃▄▅▆▇█'[Math.round(((value - low) / (high - low || 1)) * 7)]).join('')
}

function smooth(values: readonly number[]): number[] {
  return values.map((_, i) => {
    const near = values.slice(Math.max(0, i - BUCKET + 1), i + 1)
    return near.reduce((sum, value) => sum + value, 0) / near.length
  })
}
