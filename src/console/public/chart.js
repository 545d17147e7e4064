// One kind of chart: lines or points over a common x, drawn by uPlot in the colours of the page.
import { html, useEffect, useRef } from './preact.js'

const COLOURS = ['#0b57d0', '#b06000', '#136c33', '#8430ce', '#b3261e', '#007b83']
/** Steps of an axis that counts: no half of an answer. */
const WHOLE = [1, 10, 100, 1_000, 10_000].flatMap((ten) => [ten, 2 * ten, 5 * ten])

/**
 * @param {{ title: string, x: number[], lines: { name: string, values: (number | null)[] }[], time?: boolean,
 *   points?: boolean, height?: number }} props
 */
export function Chart({ title, x, lines, time = false, points = false, height = 220 }) {
  const place = useRef(null)
  useEffect(() => {
    const box = place.current
    if (!box || x.length === 0) return undefined
    const style = getComputedStyle(box)
    const counts = !time && x.every(Number.isInteger)
    // One point alone has no range of its own.
    const room = time ? 86_400 : 1
    const line = style.getPropertyValue('border-left-color')
    const axis = { stroke: style.color, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } }
    const chart = new globalThis.uPlot(
      {
        width: box.clientWidth || 600,
        height,
        scales: { x: { time, ...(x.length === 1 && { range: [x[0] - room, x[0] + room] }) } },
        axes: [counts ? { ...axis, incrs: WHOLE } : axis, axis],
        series: [
          {},
          ...lines.map(({ name }, i) => ({
            label: name,
            stroke: COLOURS[i % COLOURS.length],
            width: points ? 0 : 2,
            points: { show: points || x.length < 3, size: 7 },
          })),
        ],
      },
      [x, ...lines.map(({ values }) => values)],
      box,
    )
    const resize = new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height }))
    resize.observe(box)
    return () => {
      resize.disconnect()
      chart.destroy()
    }
  }, [JSON.stringify([x, lines])])
  if (x.length === 0) return html`<p class="dim">Nothing to draw yet.</p>`
  return html`<figure class="chart" role="img" aria-label=${title} ref=${place}></figure>`
}
