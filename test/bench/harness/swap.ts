import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadConfig } from '../../../src/config/load.ts'
import { openStore } from '../../../src/store/index.ts'
import type { InteractionRecord } from '../../../src/store/records/codec.ts'
import { eachCandidate } from '../../../src/store/records/scored-candidates.ts'
import { ArtifactFolder } from '../../support/artifacts.ts'
import { ALL_ON, gateway, type Setting, warmUp } from './experiments.ts'
import type { Told } from './orders.ts'
import { quantiles } from './quantiles.ts'

export interface Swapped {
  offeredPerSecond: number
  perSecond: number
  requests: number
  /** Artifacts that went live meanwhile. */
  swaps: number
  p50Ms: number
  p99Ms: number
  slowestMs: number
}

const SWAP_EVERY_MS = 1_000
const ROUNDS_MOST = 10
/** Those before have asked while it warmed up. */
const FIRST_USER = 1_000
const RECORDED_WITHIN_MS = 20_000

/**
 * Requests at a fixed rate while two artifacts, which score every candidate otherwise, take turns by the link that is
 * watched.
 *
 * @throws Error where a request fails, has no record, or has one of another version or with scores of both
 */
export async function swapUnderLoad(setting: Setting, perSecond: number, seconds: number): Promise<Swapped> {
  const folder = new ArtifactFolder()
  folder.add('one')
  folder.addForgetful('two')
  folder.turnTo('one')
  const known = Object.keys(JSON.parse(readFileSync(join(folder.of('one'), 'population.json'), 'utf8')))
  const names = known.filter((name) => /^[\w.:/@-]{1,64}$/.test(name)).slice(0, 12)
  const subject = await gateway(setting, ALL_ON, { artifact: folder.current, names, candidates: names.length })
  let over = false
  const turning = (async () => {
    for (let turn = 1; !over; turn++) {
      await sleep(SWAP_EVERY_MS)
      folder.turnTo(turn % 2 === 1 ? 'two' : 'one')
    }
  })()
  try {
    await warmUp(setting, [subject])
    const loadsBefore = await loadsOf(subject.port)
    const users = perSecond * seconds
    const told: Told[] = []
    let spentS = 0
    // On a machine that is busy with other things a swap may take longer than a short run.
    for (let round = 0; round === 0 || (round < ROUNDS_MOST && versionsIn(told).size < 2); round++) {
      // Nobody asks twice, so that the same question has one score under one version.
      const asked = { perSecond, seconds, inFlight: 256, users, firstUser: FIRST_USER + round * users, same: true }
      const report = await setting.bench.offer(subject, asked)
      if (report.errors > 0) throw new Error(`${report.errors} requests failed while artifacts were swapped.`)
      told.push(...(report.told ?? []))
      spentS += report.seconds
    }
    const swaps = (await loadsOf(subject.port)) - loadsBefore
    over = true
    await turning
    checkVersions(told, await recordsOf(subject.configFile ?? '', told))
    const latencies = told.map(({ ms }) => ms)
    const { p50, p99 } = quantiles(latencies)
    return {
      offeredPerSecond: perSecond,
      perSecond: told.length / spentS,
      requests: told.length,
      swaps,
      p50Ms: p50,
      p99Ms: p99,
      slowestMs: latencies.reduce((most, ms) => Math.max(most, ms), 0),
    }
  } finally {
    over = true
    await turning
    await subject.stop()
    folder.remove()
  }
}

const versionsIn = (told: readonly Told[]) => new Set(told.map(({ policy }) => policy))

/** Artifacts that a gateway has loaded since its start. */
async function loadsOf(port: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  return Number(/^persona_router_artifact_loads_total\{result="ok"\} (\d+)$/m.exec(text)?.[1])
}

async function recordsOf(configFile: string, told: readonly Told[]): Promise<Map<string, InteractionRecord>> {
  const { config } = loadConfig(configFile)
  const store = await openStore(
    config.store.kind === 'redis' ? { ...config.store, command_timeout_ms: 10_000 } : config.store,
  )
  const wanted = new Set(told.map(({ id }) => id))
  const until = performance.now() + RECORDED_WITHIN_MS
  try {
    for (;;) {
      const found = new Map<string, InteractionRecord>()
      for await (const batch of store.readInteractions({ tenant: 'bench' })) {
        for (const record of batch) if (wanted.has(record.id)) found.set(record.id, record)
      }
      if (found.size === wanted.size) return found
      if (performance.now() > until) throw new Error(`${wanted.size - found.size} answers have no record.`)
      await sleep(200)
    }
  } finally {
    await store.close()
  }
}

/** New users ask the same: a candidate has one score under one version, and another under the other. */
function checkVersions(told: readonly Told[], records: ReadonlyMap<string, InteractionRecord>): void {
  const ranges = new Map<string, Map<string, { low: number; high: number }>>()
  for (const { id, policy } of told) {
    const record = records.get(id)
    if (record?.policy !== policy) throw new Error(`An answer of ${policy} has a record of ${record?.policy}.`)
    const scores = ranges.get(policy) ?? new Map()
    ranges.set(policy, scores)
    for (const { name, mean } of eachCandidate(record.candidates)) {
      const at = mean ?? Number.NaN
      const { low, high } = scores.get(name) ?? { low: at, high: at }
      scores.set(name, { low: Math.min(low, at), high: Math.max(high, at) })
    }
  }
  const [one, two] = [ranges.get('one'), ranges.get('two')]
  if (!one || !two || ranges.size > 2)
    throw new Error(`Answers are of ${[...ranges.keys()].join(', ')}, not of one and two.`)
  for (const [name, range] of one) {
    const other = two.get(name)
    const isApart = other && (range.high < other.low || other.high < range.low)
    if (!isApart) throw new Error(`${name} has scores of both versions in one: ${JSON.stringify([range, other])}.`)
  }
}
