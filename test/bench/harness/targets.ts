import { type Added, ALL_ON, type Costs, FLOOR, type Idle, type Streaming, type Traces } from './experiments.ts'

interface Results {
  startup?: { coldMs: number; idleMb: number }
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
  const sqlite = parts?.['SQLite instead of Redis']
  const [alone, floorAlone] = [latency?.['1']?.[ALL_ON], latency?.['1']?.[FLOOR]]
  const [ours, floors] = [streaming?.[ALL_ON], streaming?.[FLOOR]]
  const [few, many] = [pools?.['12 candidates'], pools?.['100 candidates']]
  const lines: [what: string, value: number | undefined, target: number, sense: '<=' | '>='][] = [
    ['CPU per request, x the bare proxy', mine?.timesFloor, 2.2, '<='],
    ['the same with SQLite', sqlite?.timesFloor, 3, '<='],
    ['requests per core, x Portkey', beside && portkey && beside.perCore / portkey.perCore, 3, '>='],
    ['alone, ms more than the bare proxy, p50', alone && floorAlone && alone.p50 - floorAlone.p50, 0.25, '<='],
    ['alone, ms more than the bare proxy, p99', alone && floorAlone && alone.p99 - floorAlone.p99, 1, '<='],
    [
      'first byte of a stream, ms more than the bare proxy',
      ours && floors && ours.firstByteAddedMs - floors.firstByteAddedMs,
      0.3,
      '<=',
    ],
    ['us a chunk more than the bare proxy', ours && floors && ours.chunkUs - floors.chunkUs, 5, '<='],
    [
      'MB with 10,000 idle streams',
      idle && idle.totalMb + ((10_000 - idle.streams) * idle.kbPerStream) / 1024,
      1_000,
      '<=',
    ],
    ['100 candidates, x the CPU of 12', few && many && many.cpuUs / few.cpuUs, 3, '<='],
    ['CPU with traces of every request, x without', traces?.times.median, 1.05, '<='],
    ['start to ready, nothing compiled, ms', startup?.coldMs, 1_000, '<='],
    ['MB of an idle gateway', startup?.idleMb, 160, '<='],
  ]
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([what, value, target, sense]) => {
      const met = sense === '<=' ? value! <= target : value! >= target
      return `${met ? 'met   ' : 'MISSED'}  ${what}: ${value!.toFixed(2)} (target ${sense} ${target})`
    })
    .join('\n')
}
