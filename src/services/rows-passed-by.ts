import type { Logger } from '../observability/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import { WHY_PASSED_BY } from '../store/store.ts'

const TOLD_EVERY_MS = 60_000

/** Rows of the log that a reading left out are counted each time, and told once a minute and tenant. */
export function tellingOfRows({ metrics, log }: { metrics: Pick<Metrics, 'rowsPassedBy'>; log: Pick<Logger, 'warn'> }) {
  const told = new Map<string, { at: number; since: number }>()
  return (tenant: string, rows: number): void => {
    metrics.rowsPassedBy.inc({ tenant }, rows)
    const { at, since } = told.get(tenant) ?? { at: Number.NEGATIVE_INFINITY, since: 0 }
    const now = performance.now()
    const isDue = now - at >= TOLD_EVERY_MS
    told.set(tenant, isDue ? { at: now, since: 0 } : { at, since: since + rows })
    if (isDue) log.warn({ tenant, rows: since + rows }, `rows of the log are passed by: ${WHY_PASSED_BY}`)
  }
}
