import cluster, { type Worker } from 'node:cluster'
import type { SiblingOrder } from '../api/admin.ts'
import type { Logger } from '../observability/logger.ts'
import { wholeClient } from '../observability/prometheus.ts'
import { FairTimer } from '../runtime/fair-timer.ts'

/** Restarts of a worker that ended unasked: at once, then ever later while it ends soon after its start. */
const REFORK = { firstMs: 100, maxMs: 10_000, healthyAfterMs: 30_000 }
const METRICS_WITHIN_MS = 3_000

type Message =
  | { persona: 'order'; order: SiblingOrder }
  | { persona: 'metrics'; id: number }
  | { persona: 'metrics-are'; id: number; text: string | null }

/** Set in the worker that prints the welcome and makes the first key. */
const FIRST = 'PERSONA_ROUTER_FIRST_WORKER'

/** Whether this process only starts others. */
export const isSupervisor = (workers: number): boolean => workers > 1 && cluster.isPrimary

export const isFirst = (): boolean => cluster.isPrimary || process.env[FIRST] === '1'

/**
 * Starts `count` workers that share the port (node:cluster), starts one again when it ends, and passes SIGTERM, SIGINT
 * and SIGHUP on. The first one comes up alone: it migrates the store and makes the secrets that the others read. Never
 * returns; the process ends when the last worker has.
 *
 * What each worker has for itself is in docs/workers.md.
 */
export async function supervise(count: number, log: Logger): Promise<never> {
  const registry = new (wholeClient().AggregatorRegistry)()
  let stopping = false
  let exitCode = 0

  function start(isFirst: boolean, delayMs: number): Worker {
    const worker = cluster.fork({ [FIRST]: isFirst ? '1' : '0' })
    const startedAt = performance.now()
    worker.on('message', (message: Message) => void answer(worker, message))
    worker.on('exit', (code, signal) => {
      if (stopping) {
        exitCode ||= code ?? 0
        if (Object.keys(cluster.workers ?? {}).length === 0) process.exit(exitCode)
        return
      }
      const lived = performance.now() - startedAt
      const next = lived > REFORK.healthyAfterMs ? REFORK.firstMs : Math.min(REFORK.maxMs, 2 * delayMs)
      log.error({ worker: worker.process.pid, code, signal, again_in_ms: delayMs }, 'a worker ended')
      setTimeout(() => {
        if (!stopping) start(isFirst, next)
      }, delayMs)
    })
    return worker
  }

  async function answer(worker: Worker, message: Message): Promise<void> {
    if (message.persona === 'order') {
      for (const other of Object.values(cluster.workers ?? {})) if (other !== worker) send(other, message)
    } else if (message.persona === 'metrics') {
      const text = await registry.clusterMetrics().catch(() => null)
      send(worker, { persona: 'metrics-are', id: message.id, text })
    }
  }

  function passOn(signal: NodeJS.Signals, ends: boolean): void {
    process.on(signal, () => {
      stopping ||= ends
      const workers = Object.values(cluster.workers ?? {})
      if (ends && workers.length === 0) process.exit(exitCode)
      for (const worker of workers) worker?.process.kill(signal)
    })
  }

  const first = start(true, REFORK.firstMs)
  let hasListened = false
  // A fault that keeps the first one from starting would keep all of them.
  first.once('exit', (code) => {
    if (!hasListened) process.exit(code || 1)
  })
  passOn('SIGTERM', true)
  passOn('SIGHUP', false)
  // A terminal sends Ctrl-C to the workers as well, and a second one would cut their drain short.
  if (process.stdin.isTTY || process.stdout.isTTY) {
    process.on('SIGINT', () => {
      stopping = true
    })
  } else passOn('SIGINT', true)
  await new Promise<void>((listening) => first.once('listening', () => listening()))
  hasListened = true
  for (let i = 1; i < count && !stopping; i++) start(false, REFORK.firstMs)
  return new Promise<never>(() => {})
}

function send(worker: Worker | undefined, message: Message): void {
  if (worker?.isConnected()) worker.send(message, () => {})
}

/** The other processes behind the same port; none where this is the only one. */
export class Siblings {
  #asked = 0
  readonly #waiting = new Map<number, (text: string | null) => void>()

  /** @param obey carries out an order that a sibling was given */
  constructor(obey: (order: SiblingOrder) => void) {
    if (!cluster.isWorker) return
    process.on('message', (message: Message) => {
      if (message.persona === 'order') obey(message.order)
      else if (message.persona === 'metrics-are') this.#waiting.get(message.id)?.(message.text)
    })
  }

  /** Passes an order on: the operator reaches one process, and means all of them. */
  tell(order: SiblingOrder): void {
    if (cluster.isWorker) process.send?.({ persona: 'order', order } satisfies Message)
  }

  /** Metrics of all workers together; null where there are no others, or they can't be had. */
  async metrics(): Promise<string | null> {
    if (!cluster.isWorker) return null
    const id = ++this.#asked
    const { promise, resolve } = Promise.withResolvers<string | null>()
    this.#waiting.set(id, resolve)
    const timer = new FairTimer(METRICS_WITHIN_MS, () => resolve(null))
    process.send?.({ persona: 'metrics', id } satisfies Message)
    return promise.finally(() => {
      timer.clear()
      this.#waiting.delete(id)
    })
  }
}
