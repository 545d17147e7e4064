import type { Metrics } from './metrics.ts'

export interface GaugeSources {
  requests: { readonly size: number }
  admission: { readonly queued: number }
  recorder: { status(): { queued: number; spooledBytes: number; dropped: number } }
  quota: { status(): { tenants: number; owed: number } }
  breakers: { states(): ReadonlyMap<string, string> }
}

/** Metrics that are read when Prometheus asks. */
export function watchGauges(
  metrics: Metrics,
  { requests, admission, recorder, quota, breakers }: GaugeSources,
  droppedLines: () => number,
): void {
  metrics.watch('in_flight', 'Requests in work.', () => requests.size)
  metrics.watch('queued', 'Requests that wait to be admitted.', () => admission.queued)
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
  metrics.watch('log_lines_dropped', 'Log lines that stdout did not take.', droppedLines)
}
