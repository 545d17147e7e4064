import { randomUUID } from 'node:crypto'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Settlements } from './accounting/settlements.ts'
import { afterAnswer } from './after-answer.ts'
import { createApp } from './app.ts'
import { askCandidate } from './ask-candidate.ts'
import { isFirst, isSupervisor, Siblings, supervise } from './cluster.ts'
import { loadConfig } from './config-file.ts'
import { watchConfig } from './config-watch.ts'
import { openEmbedder } from './embedding/index.ts'
import { Erasures } from './erasures.ts'
import { GatewayError } from './errors.ts'
import { firstKey, printWelcome } from './first-key.ts'
import { Admission } from './http/admission.ts'
import { Authenticator } from './http/authenticate.ts'
import { Exchanges } from './http/exchange.ts'
import type { Component } from './http/health.ts'
import { closeAfterAnswers, createHttpServer, drainServer } from './http/server.ts'
import { identitySecret } from './identity-secret.ts'
import { closeLive, type Live, makeLive } from './live.ts'
import { Latencies } from './observability/latencies.ts'
import { createLogger } from './observability/logger.ts'
import { createMetrics } from './observability/metrics.ts'
import type { Parts } from './parts.ts'
import { Breakers } from './providers/breakers.ts'
import { restartNeeded } from './restart-needed.ts'
import { ArmReport } from './rewards/arm-report.ts'
import { Judge } from './rewards/judge.ts'
import { Learner } from './rewards/learn.ts'
import { takeReward } from './rewards/take-reward.ts'
import { UserStates } from './rewards/user-states.ts'
import { modelThread } from './routing/model-thread.ts'
import { Policies } from './routing/policies.ts'
import { openStore } from './store/index.ts'
import { Recorder } from './store/recorder.ts'
import { UserIds } from './tenants.ts'

/**
 * Reads the configuration, builds the parts, listens; drains on SIGTERM and SIGINT.
 *
 * @param change gets the parts before the first request: the bench takes some of them out
 */
export async function serve(configPath: string, change: (parts: Parts) => void = () => {}): Promise<void> {
  const loaded = loadConfig(configPath)
  const { config } = loaded
  const { log, dropped: droppedLines, flush: flushLog } = createLogger(config.log.level)
  if (isSupervisor(config.server.workers)) return supervise(config.server.workers, log)
  const metrics = createMetrics()
  const store = await openStore(config.store)
  const recorder = new Recorder(store, config.spool, {
    away: (error) => log.warn({ reason: error.message }, 'store away: records wait in the spool'),
    back: () => log.info('store back'),
    dropped: (total) => log.error({ total }, 'spool full: records are lost'),
    rejected: (error) => log.error({ err: error }, 'the store refuses a record'),
  })
  let live: Live = await makeLive(config)
  let { files } = loaded
  let reloading: Promise<void> = Promise.resolve()
  let draining = false
  const find = (name: string) => live.candidates.find((candidate) => candidate.name === name)

  const policies = await Policies.open({
    config: config.router,
    openEmbedder: (artifact) => openEmbedder(config.router.embedder, artifact),
    loadEvidence: (tenant, policy) => store.loadEvidence(tenant, policy),
    log,
    onLoad: (result) => metrics.artifactLoads.inc({ result }),
  })
  const users = new UserStates({
    store,
    find,
    max: config.router.user_cache,
    deadlineMs: config.router.deadline_ms,
    log,
    onStoreError: (call) => metrics.storeErrors.inc({ call }),
  })
  const replica = randomUUID()
  const breakers = new Breakers(
    config.retries.breaker,
    (deployment, state) => log.warn({ deployment, state }, 'breaker'),
    (deployment, ms) => {
      // The others learn it for themselves where this does not reach them.
      store.publish({ kind: 'breaker', deployment, ms, from: replica }).catch(() => undefined)
    },
  )
  store.subscribe((change) => {
    if (change.kind === 'evidence') policies.refreshEvidence(change.tenant)
    if (change.kind === 'breaker' && change.from !== replica) breakers.hear(change.deployment, change.ms)
    if (change.kind === 'all') for (const tenant of live.tenants.keys()) policies.refreshEvidence(tenant)
  })

  const dataDir = dirname(resolve(config.spool.path))
  const identity = await identitySecret(config.identity.secret, join(dataDir, 'identity-secret'), store)
  const userIds = new UserIds(identity.secret)
  const stopAgreeing = identity.agreeLater((secret) => {
    log.warn('the replicas keep user ids under another secret: it is used from now on')
    userIds.use(secret)
  })
  const parts: Parts = {
    live: () => live,
    reload,
    store,
    recorder,
    authenticator: new Authenticator(store, config),
    erasures: new Erasures(),
    pendingTurns: new Map(),
    settlements: new Settlements(store.limits, () => metrics.storeErrors.inc({ call: 'settle' })),
    admission: new Admission(admissionOptions(config)),
    exchanges: new Exchanges(),
    siblings: new Siblings((order) => {
      const done =
        order.kind === 'config'
          ? reload()
          : order.kind === 'artifact'
            ? policies.reload(order.artifact)
            : policies.rollback(order.version)
      done.catch((error: Error) => log.error({ reason: error.message, order: order.kind }, 'not done as a sibling did'))
    }),
    userIds,
    policies,
    users,
    learner: new Learner({
      store,
      states: users,
      find,
      policyFor: (tenant, user) => policies.snapshot(tenant, user).policy,
      log,
    }),
    arms: new ArmReport(),
    judge:
      config.router.judge === undefined
        ? null
        : new Judge({
            config: config.router.judge,
            ask: (name, prompt, signal) => askCandidate(parts, name, prompt, signal),
            onReward: (reward, interaction) => takeReward(parts, reward, interaction),
            log,
          }),
    breakers,
    latencies: new Latencies(),
    metrics,
    log,
    afterAnswer: (record, asked, decision) => afterAnswer(parts, record, asked, decision),
    async forgetUser(tenant, user) {
      parts.erasures.note(tenant, user, Date.now())
      recorder.forget(tenant, user)
      await recorder.flush()
      return parts.learner.forgetUser(tenant, user)
    },
    components,
    draining: () => draining,
  }

  /** One after the other: of two, the later one counts. */
  function reload(): Promise<void> {
    const done = reloading.then(loadAgain)
    reloading = done.catch(() => undefined)
    return done
  }

  async function loadAgain(): Promise<void> {
    const next = loadConfig(configPath)
    const old = live
    live = await makeLive(next.config)
    files = next.files
    parts.authenticator.configure(next.config)
    parts.admission.configure(admissionOptions(next.config))
    void parts.exchanges.unused(old).then(() => closeLive(old))
    log.info({ candidates: live.candidates.length, tenants: live.tenants.size }, 'configuration reloaded')
    const waiting = restartNeeded(config, next.config)
    if (waiting.length > 0) log.warn({ settings: waiting }, 'these settings count from the next start on')
    await policies.configure(next.config.router)
    await policies.warm(live.tenants.values())
  }

  async function components(): Promise<Record<string, Component>> {
    const { policy, device, deviceNote, error } = policies.status()
    const records = recorder.status()
    const isFallback = policy.startsWith('fallback:')
    const storeState = await store.ping().then(
      (): Component => ({ state: 'ok', detail: store.kind }),
      (): Component => ({ state: 'degraded', detail: `${store.kind} does not answer` }),
    )
    return {
      store: storeState,
      router: {
        state: isFallback || error !== null ? 'degraded' : 'ok',
        detail: [policy, device && `on ${device}`, deviceNote, error].filter(Boolean).join('; '),
      },
      records: {
        state: records.away !== null || records.dropped > 0 ? 'degraded' : 'ok',
        detail: `${records.queued} queued, ${records.spooledBytes} bytes spooled, ${records.dropped} lost, ${records.rejected} rejected`,
      },
    }
  }

  await policies.warm(live.tenants.values())
  watchParts(parts, droppedLines)
  change(parts)
  const server = createHttpServer(createApp(parts).fetch, config.server)
  const stopWatching = watchConfig(
    () => files,
    () => {
      reload().catch((error: Error) =>
        log.error({ reason: error.message }, 'configuration not reloaded: the old one stays'),
      )
    },
  )

  // Before the port is open: who sees it open may send a signal.
  process.on('SIGTERM', () => void shutDown('SIGTERM'))
  process.on('SIGINT', () => void shutDown('SIGINT'))
  process.on('SIGHUP', () => {
    reload().catch((error: Error) =>
      log.error({ reason: error.message }, 'configuration not reloaded: the old one stays'),
    )
  })

  await new Promise<void>((listening, fail) => {
    server.once('error', fail)
    server.listen(config.server.port, config.server.host, listening)
  })
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : config.server.port
  log.info({ host: config.server.host, port, ...policies.status() }, 'listening')
  if (isFirst()) {
    const key = await firstKey(store, config, join(dataDir, 'first-key')).catch(() => null)
    printWelcome({ host: config.server.host, port, key, live })
  }

  async function shutDown(signal: string): Promise<void> {
    if (draining) process.exit(1)
    draining = true
    log.info({ signal, in_flight: parts.exchanges.size }, 'draining')
    stopWatching()
    stopAgreeing()
    const { drain_delay_ms, drain_timeout_ms } = live.config.server
    closeAfterAnswers(server)
    parts.exchanges.closeAfterAnswers()
    // Nobody balances in front of a terminal.
    if (signal !== 'SIGINT') await sleep(drain_delay_ms)
    const cut = setTimeout(() => parts.exchanges.cut(shuttingDown()), drain_timeout_ms)
    await drainServer(server, drain_timeout_ms + CUT_GRACE_MS)
    clearTimeout(cut)
    parts.learner.close()
    await modelThread.idle()
    policies.close()
    users.close()
    await parts.judge?.close()
    await parts.settlements.close()
    await recorder.close().catch((error: unknown) => log.error({ err: error }, 'records stay in the spool'))
    await closeLive(live)
    await store.close()
    log.info('bye')
    flushLog()
    process.exit(0)
  }
}

/** After the drain deadline, streams get this long to tell their clients. */
const CUT_GRACE_MS = 1_000

const admissionOptions = ({ server }: Live['config']) => ({
  maxConcurrent: server.max_concurrent,
  maxQueue: server.max_queue,
})

const shuttingDown = () =>
  new GatewayError('The gateway is shutting down.', {
    status: 503,
    type: 'api_error',
    code: 'shutting_down',
    retryAfterS: 1,
  })

function watchParts({ metrics, exchanges, admission, recorder, breakers }: Parts, droppedLines: () => number): void {
  metrics.watch('in_flight', 'Requests in work.', () => exchanges.size)
  metrics.watch('queued', 'Requests that wait to be let in.', () => admission.queued)
  metrics.watch('records_queued', 'Records that the store does not have yet.', () => recorder.status().queued)
  metrics.watch(
    'records_spooled_bytes',
    'Bytes on disk that the store does not have yet.',
    () => recorder.status().spooledBytes,
  )
  metrics.watch('records_dropped', 'Records lost since the start.', () => recorder.status().dropped)
  metrics.watch('breakers_open', 'Deployments that are left alone for now.', () => {
    return [...breakers.states().values()].filter((state) => state === 'open').length
  })
  metrics.watch('log_lines_dropped', 'Log lines that stdout did not take.', droppedLines)
}
