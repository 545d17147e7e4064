import type { Added, Costs, Idle, Scaling, Streaming, Traces } from './experiments.ts'
import { TRACED } from './experiments.ts'
import type { Swapped } from './swap.ts'

const us = (value: number) => `${value.toFixed(0)} us`
const ms = (value: number) => `${value.toFixed(3)} ms`

/** Rows of text in columns, the first one to the left. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n')
}

export const costTable = (costs: Costs) =>
  table(
    ['', 'CPU / request', '± spread', 'best round', 'x floor', 'requests / core / s'],
    Object.entries(costs).map(([name, cost]) => [
      name,
      us(cost.cpuUs),
      us(cost.spreadUs),
      us(cost.bestUs),
      cost.timesFloor.toFixed(2),
      cost.perCore.toFixed(0),
    ]),
  )

/** What each part costs. */
export const partTable = (costs: Costs) =>
  table(
    ['', 'CPU / request', '± spread', 'best round', 'x floor', 'less than everything', '± spread'],
    Object.entries(costs).map(([name, { cpuUs, spreadUs, bestUs, timesFloor, savedUs, savedSpreadUs }]) => [
      name,
      ...[cpuUs, spreadUs, bestUs].map(us),
      timesFloor.toFixed(2),
      ...[savedUs, savedSpreadUs].map((value) => (value === undefined ? '' : us(value))),
    ]),
  )

export const latencyTable = (all: Record<string, Record<string, Added>>) =>
  table(
    ['in flight, proxy', 'p50', 'p99', 'p99.9', 'best p50', 'best p99'],
    Object.entries(all).flatMap(([inFlight, proxies]) =>
      Object.entries(proxies).map(([name, { p50, p99, p999, best }]) => [
        `${inFlight.padStart(3)}, ${name}`,
        ...[p50, p99, p999, best.p50, best.p99].map(ms),
      ]),
    ),
  )

export const streamTable = (all: Record<string, Streaming>) =>
  table(
    ['', 'CPU / chunk', 'first byte added'],
    Object.entries(all).map(([name, { chunkUs, firstByteAddedMs }]) => [
      name,
      `${chunkUs.toFixed(1)} us`,
      ms(firstByteAddedMs),
    ]),
  )

export const scalingTable = (all: Record<string, Scaling>) =>
  table(
    ['', 'requests / s', 'CPU / request'],
    Object.entries(all).map(([name, { perSecond, cpuUs }]) => [name, perSecond.toFixed(0), us(cpuUs)]),
  )

export const traceTable = ({ costs, times, bytesPerRequest }: Traces) =>
  `${costTable(costs)}

${TRACED}: ${times.median.toFixed(3)} ± ${times.spread.toFixed(3)} x one that is not traced
${bytesPerRequest.toFixed(0)} bytes of spans for each request of '${TRACED}' came to the collector`

export const idleLine = ({ streams, kbPerStream, totalMb }: Idle) =>
  `${streams} idle streams: ${kbPerStream.toFixed(1)} KB each, ${totalMb.toFixed(0)} MB in all`

export const swapLine = ({ offeredPerSecond, perSecond, requests, swaps, p50Ms, p99Ms, slowestMs }: Swapped) =>
  `${offeredPerSecond} offered a second, ${perSecond.toFixed(0)} answered; ${requests} requests and ${swaps} swaps, 0 failed, ` +
  `each recorded under the version it was answered by; p50 ${ms(p50Ms)}, p99 ${ms(p99Ms)}, slowest ${ms(slowestMs)}`
