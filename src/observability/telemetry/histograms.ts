import type { HrTime } from '@opentelemetry/api'
import { ValueType } from '@opentelemetry/api'
import type { Resource } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type HistogramMetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics'
import type { Attributes } from './conventions.ts'

interface Point {
  attributes: Attributes
  counts: number[]
  sum: number
  count: number
  min: number
  max: number
}

interface Described {
  name: string
  unit: string
  bounds: readonly number[]
}

/**
 * Values by attributes, counted between bounds: what the SDK's instruments do, but attributes are looked up by a key
 * that the caller has anyway.
 */
export class Histogram {
  readonly #described: Described
  readonly #points = new Map<string, Point>()

  constructor(described: Described) {
    this.#described = described
  }

  /** @param key tells `attributes` from all others */
  record(value: number, key: string, attributes: () => Attributes): void {
    const { bounds } = this.#described
    let point = this.#points.get(key)
    if (!point) {
      const counts = Array.from({ length: bounds.length + 1 }, () => 0)
      point = { attributes: attributes(), counts, sum: 0, count: 0, min: value, max: value }
      this.#points.set(key, point)
    }
    let at = 0
    while (at < bounds.length && value > (bounds[at] as number)) at++
    point.counts[at]!++
    point.sum += value
    point.count++
    point.min = Math.min(point.min, value)
    point.max = Math.max(point.max, value)
  }

  collected(startTime: HrTime, endTime: HrTime): HistogramMetricData {
    const { name, unit, bounds } = this.#described
    const dataPoints = [...this.#points.values()].map(({ attributes, counts, sum, count, min, max }) => ({
      startTime,
      endTime,
      attributes,
      value: { buckets: { boundaries: [...bounds], counts: [...counts] }, sum, count, min, max },
    }))
    return {
      descriptor: { name, description: '', unit, valueType: ValueType.DOUBLE },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints,
    }
  }
}

/** Hands histograms to the SDK's reader when it is time to send them. */
export class HistogramProducer implements MetricProducer {
  readonly #resource: Resource
  readonly #scope: string
  readonly #histograms: readonly Histogram[]
  readonly #startTime = hrTime()

  constructor(resource: Resource, scope: string, histograms: readonly Histogram[]) {
    this.#resource = resource
    this.#scope = scope
    this.#histograms = histograms
  }

  async collect(): Promise<CollectionResult> {
    const metrics = this.#histograms.map((histogram) => histogram.collected(this.#startTime, hrTime()))
    const scopeMetrics = [{ scope: { name: this.#scope }, metrics: metrics.filter(hasPoints) }]
    return { resourceMetrics: { resource: this.#resource, scopeMetrics }, errors: [] }
  }
}

const hasPoints = ({ dataPoints }: HistogramMetricData) => dataPoints.length > 0

function hrTime(): HrTime {
  const now = Date.now()
  return [Math.floor(now / 1e3), (now % 1e3) * 1e6]
}
