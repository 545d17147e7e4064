import { setTimeout as sleep } from 'node:timers/promises'
import { complete } from '../../support/clients.ts'
import type { RunningGateway } from '../../support/gateway.ts'

/** Milliseconds of the requests of another tenant. */
export interface Times {
  p50: number
  p99: number
  count: number
  failed: number
}

/** Requests a second: far from what the gateway can do, so that nothing but the attack is in their way. */
const PER_SECOND = 40

const quantile = (sorted: readonly number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN

/**
 * Asks as another tenant at a steady rate, however long the answers take, until `over`. A request counts from when it
 * was due: one that had to wait for its turn has waited.
 */
export async function timesDuring(gateway: RunningGateway, key: string, over: Promise<unknown>): Promise<Times> {
  const times: number[] = []
  const asked: Promise<void>[] = []
  let [isOver, failed] = [false, 0]
  const ended = over.finally(() => {
    isOver = true
  })
  const from = performance.now()
  for (let sent = 0; !isOver; sent++) {
    const due = from + (sent * 1e3) / PER_SECOND
    await sleep(Math.max(0, due - performance.now()))
    asked.push(
      complete(gateway, { model: 'one' }, { key })
        .then(async (answer) => {
          await answer.text()
          if (answer.status !== 200) failed++
        })
        .catch(() => void failed++)
        .then(() => void times.push(performance.now() - due)),
    )
  }
  await Promise.all([ended, ...asked])
  times.sort((a, b) => a - b)
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), count: times.length, failed }
}
