import { type Added, ALL_ON, type Costs, FLOOR, type Idle, type Streaming, TRACED, type Traces } from './experiments.ts'

interface Results {
  startup?: { bestMs: number }
  parts?: Costs
  peers?: Record<string, Costs>
  latency?: Record<string, Record<string, Added>>
  streaming?: Record<string, Streaming>
  pools?: Costs
  idle?: Idle
  traces?: Traces
}

/** The targets, and what this run says of those that it measured. */
export function targets(results: Results): string {
  const { parts, peers, latency, streaming, pools, idle, startup, traces } = results
  const mine = parts?.[ALL_ON]
  const { Portkey: portkey, [ALL_ON]: beside } = peers?.Portkey ?? {}
  const alone = latency?.['1']?.[ALL_ON]
  const [ours, floors] = [streaming?.[ALL_ON], streaming?.[FLOOR]]
  const [few, many] = [pools?.['12 candidates'], pools?.['100 candidates']]
  const lines: [what: string, value: number | undefined, target: number, sense: '<=' | '>='][] = [
    ['CPU per request, x the bare proxy', mine?.timesFloor, 2, '<='],
    ['requests per core, x Portkey', beside && portkey && beside.perCore / portkey.perCore, 8, '>='],
    ['added at one in flight, p50 ms', alone?.p50, 0.3, '<='],
    ['added at one in flight, p99 ms', alone?.p99, 1, '<='],
    ['us a chunk more than the bare proxy', ours && floors && ours.chunkUs - floors.chunkUs, 5, '<='],
    [
      'MB with 10,000 idle streams',
      idle && idle.totalMb + ((10_000 - idle.streams) * idle.kbPerStream) / 1024,
      1_000,
      '<=',
    ],
    ['100 candidates, x the CPU of 12', few && many && many.cpuUs / few.cpuUs, 3, '<='],
    ['CPU with traces of every request, x without', traces?.times[TRACED], 1.05, '<='],
    ['start to ready, ms', startup?.bestMs, 2_000, '<='],
  ]
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([what, value, target, sense]) => {
      const met = sense === '<=' ? value! <= target : value! >= target
      return `${met ? 'met   ' : 'MISSED'}  ${what}: ${value!.toFixed(2)} (target ${sense} ${target})`
    })
    .join('\n')
}
