import type { Metrics } from './metrics.ts'

export interface GaugeSources {
  requests: { readonly size: number }
  admission: { readonly queued: number }
  heldBytes: { readonly total: number }
  recorder: { status(): { queued: number; spooledBytes: number; dropped: number } }
  quota: { status(): { tenants: number; owed: number } }
  breakers: { states(): ReadonlyMap<string, string> }
  configState(): { readAt: number; problem: string | null; certificates: readonly { until: number }[] }
}

/** Metrics that are read when Prometheus asks. */
export function watchGauges(
  metrics: Metrics,
  { requests, admission, heldBytes, recorder, quota, breakers, configState }: GaugeSources,
  droppedLines: () => number,
): void {
  metrics.watch('in_flight', 'Requests in work.', () => requests.size)
  metrics.watch('queued', 'Requests that wait to be admitted.', () => admission.queued)
  metrics.watch('held_bytes', 'Bytes of bodies that requests hold in memory.', () => heldBytes.total)
  metrics.watch('records_queued', 'Records that the store does not have yet.', () => recorder.status().queued)
  metrics.watch(
    'records_spooled_bytes',
    'Bytes on disk that the store does not have yet.',
    () => recorder.status().spooledBytes,
  )
  metrics.watch('records_dropped', 'Records lost since the start.', () => recorder.status().dropped)
  metrics.watch(
    'limits_local_tenants',
    'Tenants whose limits this process counts by itself.',
    () => quota.status().tenants,
  )
  metrics.watch('limits_owed', 'Requests that the store has not counted yet.', () => quota.status().owed)
  metrics.watch('breakers_open', 'Deployments that are left alone for now.', () => {
    return [...breakers.states().values()].filter((state) => state === 'open').length
  })
  metrics.watch(
    'config_reload_failed',
    '1 while the configuration files can not be used as they are now.',
    () => (configState().problem === null ? 0 : 1),
    'max',
  )
  metrics.watch(
    'config_read_seconds',
    'Unix time at which the configuration in force was read.',
    () => Math.floor(configState().readAt / 1_000),
    'min',
  )
  metrics.watch(
    'certificate_end_seconds',
    'Unix time at which the first of our own certificates ends; 0 where there is none.',
    () => {
      const { certificates } = configState()
      return certificates.length > 0 ? Math.floor(Math.min(...certificates.map(({ until }) => until)) / 1_000) : 0
    },
    'min',
  )
  metrics.watch('log_lines_dropped', 'Log lines that stdout did not take.', droppedLines)
}
