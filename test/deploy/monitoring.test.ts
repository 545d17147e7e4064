import { readFileSync } from 'node:fs'
import { parser } from '@prometheus-io/lezer-promql'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { watchGauges } from '../../src/observability/gauges.ts'
import { createMetrics } from '../../src/observability/metrics.ts'

interface Target {
  expr: string
}
interface Panel {
  id: number
  title: string
  type: string
  targets?: Target[]
  gridPos: { x: number; y: number; w: number; h: number }
}
interface Rule {
  alert: string
  expr: string
  labels: Record<string, string>
  annotations: { summary?: string }
}

const read = (path: string) => readFileSync(new URL(`../../deploy/${path}`, import.meta.url), 'utf8')
const board: { panels: Panel[]; templating: { list: { name: string; definition?: string }[] } } = JSON.parse(
  read('grafana/persona-router.json'),
)
const { groups }: { groups: { rules: Rule[] }[] } = parse(read('prometheus/alerts.yaml'))
const rules = groups.flatMap(({ rules }) => rules)

/** Names of the series that `/metrics` has, with their labels. */
async function offered(): Promise<Map<string, string[]>> {
  const metrics = createMetrics()
  watchGauges(
    metrics,
    {
      requests: { size: 0 },
      admission: { queued: 0 },
      heldBytes: { total: 0 },
      configState: () => ({ readAt: 0, problem: null, certificates: [] }),
      recorder: { status: () => ({ queued: 0, spooledBytes: 0, dropped: 0 }) },
      quota: { status: () => ({ tenants: 0, owed: 0, replicas: 1 }) },
      breakers: { states: () => new Map() },
    },
    () => 0,
  )
  // What is there when it is read.
  await metrics.text()
  const names = new Map<string, string[]>()
  for (const metric of metrics.registry.getMetricsAsArray()) {
    const { name, labelNames = [] } = metric as unknown as { name: string; labelNames?: string[] }
    const labels = [...labelNames, 'job', 'instance']
    names.set(name, labels)
    for (const end of ['_bucket', '_sum', '_count']) names.set(`${name}${end}`, [...labels, 'le'])
  }
  return names
}

/** What Grafana puts in for its variables before it asks. */
const filledIn = (query: string) => query.replaceAll('$__rate_interval', '5m').replaceAll(/\$\w+/g, '.*')

/** What a query names, by Prometheus' own grammar. */
function named(query: string): { errors: number; metrics: string[]; labels: string[] } {
  const found = { errors: 0, metrics: [] as string[], labels: [] as string[] }
  parser.parse(query).iterate({
    enter: ({ type, from, to, node }) => {
      const text = query.slice(from, to)
      if (type.isError) found.errors++
      if (type.name === 'Identifier' && node.parent?.type.name === 'VectorSelector') found.metrics.push(text)
      if (type.name === 'LabelName') found.labels.push(text)
    },
  })
  return found
}

const queries = [
  ...board.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [`board: ${title}`, expr] as const)),
  ...rules.map(({ alert, expr }) => [`alert: ${alert}`, expr] as const),
]

describe('the board and the alerts', () => {
  it.each(queries)('%s asks for series that /metrics has', async (_, expr) => {
    const series = await offered()
    const { errors, metrics, labels } = named(filledIn(expr))
    expect(errors).toBe(0)
    expect(metrics.length).toBeGreaterThan(0)
    for (const metric of metrics) expect([...series.keys()]).toContain(metric)
    const known = new Set(metrics.flatMap((metric) => series.get(metric) ?? []))
    for (const label of labels) expect([...known]).toContain(label)
  })

  it('finds what is wrong with a query', () => {
    expect(named('sum by (tenant) (rate(no_such_total[5m]))')).toEqual({
      errors: 0,
      metrics: ['no_such_total'],
      labels: ['tenant'],
    })
    expect(named('sum(rate(x[5m])').errors).toBeGreaterThan(0)
  })

  it('has panels that lie beside each other, each with an id of its own', () => {
    const { panels } = board
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    for (const [index, { gridPos: a }] of panels.entries()) {
      expect(a.x + a.w).toBeLessThanOrEqual(24)
      for (const { gridPos: b } of panels.slice(index + 1)) {
        const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
        expect(apart).toBe(true)
      }
    }
  })

  it('fills its variables from series that /metrics has', async () => {
    const series = await offered()
    for (const { definition } of board.templating.list) {
      if (definition === undefined) continue
      const [, metric = '', label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(definition) ?? []
      expect(series.get(metric)).toContain(label)
    }
  })

  it('says of each alert how bad it is and what it means', () => {
    for (const { labels, annotations } of rules) {
      expect(['warning', 'critical']).toContain(labels.severity)
      expect(annotations.summary).toMatch(/\.$/)
    }
  })
})
