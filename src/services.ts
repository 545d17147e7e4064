import { randomUUID } from 'node:crypto'
import { dirname, join, resolve } from 'node:path'
import { identitySecret } from './candidates/identity-secret.ts'
import { UserIds } from './candidates/tenants.ts'
import { restartNeeded } from './config/restart.ts'
import type { Config } from './config/schema.ts'
import { closeSnapshot, type Snapshot } from './config/snapshot.ts'
import type { ConfigSource } from './config/source.ts'
import { openEmbedder } from './embedding/index.ts'
import { ArmReport } from './learning/arm-report.ts'
import { Erasures } from './learning/erasures.ts'
import { Learner } from './learning/learner.ts'
import { askCandidate } from './learning/sources/ask-candidate.ts'
import { Judge } from './learning/sources/judge.ts'
import { takeReward } from './learning/take-reward.ts'
import { UserStates } from './learning/user-states.ts'
import { componentsOf } from './observability/components.ts'
import { Latencies } from './observability/latencies.ts'
import type { Logger } from './observability/logger.ts'
import { createMetrics } from './observability/metrics.ts'
import type { Services } from './parts.ts'
import { Admission } from './pipeline/admission.ts'
import { afterAnswer } from './pipeline/after-answer.ts'
import { Authenticator } from './pipeline/authenticate.ts'
import { RequestContexts } from './pipeline/context.ts'
import { Settlements } from './pipeline/settlements.ts'
import { Refusals } from './providers/dialect/refusals.ts'
import { Breakers, deploymentOf } from './providers/forward/breakers.ts'
import { answers } from './providers/forward/probe.ts'
import { Policies } from './routing/policies/policies.ts'
import { EphemeralMap } from './runtime/ephemeral-map.ts'
import { Siblings } from './server/workers.ts'
import { openStore } from './store/index.ts'
import { Recorder } from './store/recorder/recorder.ts'

/** Where what a process makes for itself is kept: beside the spool. */
export const dataDirOf = (config: Config) => dirname(resolve(config.spool.path))

/**
 * Opens the store, loads the artifacts, and builds all that a process is made of.
 *
 * @param draining whether the process is about to end
 * @throws ArtifactError where one is required
 */
export async function createServices(
  configured: ConfigSource,
  log: Logger,
  draining: () => boolean,
): Promise<Services> {
  const { config } = configured.current
  const snapshot = () => configured.current
  const find = (name: string) => snapshot().candidates.find((candidate) => candidate.name === name)
  const metrics = createMetrics()
  const store = await openStore(config.store)
  const recorder = new Recorder(store, config.spool, {
    away: (error) => log.warn({ reason: error.message }, 'store away: records wait in the spool'),
    back: () => log.info('store back'),
    dropped: (total) => log.error({ total }, 'spool full: records are lost'),
    rejected: (error) => log.error({ err: error }, 'the store refuses a record'),
  })
  const policies = await Policies.open({
    config: config.router,
    tenants: config.tenants,
    openEmbedder: (artifact) => openEmbedder(config.router.embedder, artifact),
    loadEvidence: (tenant, policy) => store.loadEvidence(tenant, policy),
    log,
    onLoad: (result) => metrics.artifactLoads.inc({ result }),
  })
  const users = new UserStates({
    store,
    find,
    max: config.router.user_cache,
    get deadlineMs() {
      return snapshot().config.router.deadline_ms
    },
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
    async (deployment) => {
      const candidate = snapshot().candidates.find((one) => deploymentOf(one) === deployment)
      const provider = candidate && snapshot().providers.get(candidate.provider)
      return !candidate || !provider || answers(candidate, provider)
    },
  )
  const refusals = new Refusals(store)
  store.subscribe((change) => {
    if (change.kind === 'evidence') policies.refreshEvidence(change.tenant)
    if (change.kind === 'refusals') refusals.reload(change.tenant)
    if (change.kind === 'all') refusals.reloadAll()
    if (change.kind === 'breaker' && change.from !== replica) breakers.hear(change.deployment, change.ms)
    if (change.kind === 'all') for (const tenant of snapshot().tenants.keys()) policies.refreshEvidence(tenant)
  })

  const identity = await identitySecret(config.identity.secret, join(dataDirOf(config), 'identity-secret'), store)
  const userIds = new UserIds(identity.secret)
  const stopAgreeing = identity.agreeLater((secret) => {
    log.warn('the replicas keep user ids under another secret: it is used from now on')
    userIds.use(secret)
  })
  const services: Services = {
    snapshot,
    reload: () => configured.reload((next, old) => takeIn(services, config, next, old)),
    store,
    recorder,
    authenticator: new Authenticator(store, config),
    erasures: new Erasures(),
    pendingTurns: new EphemeralMap(),
    settlements: new Settlements(store.limits, () => metrics.storeErrors.inc({ call: 'settle' })),
    admission: new Admission(admissionOptions(config)),
    requests: new RequestContexts(),
    siblings: new Siblings((order) => {
      const done =
        order.kind === 'config'
          ? services.reload()
          : order.kind === 'artifact'
            ? policies.reload(order.artifact, order.tenant)
            : policies.rollback(order.version, order.tenant)
      done.catch((error: Error) => log.error({ reason: error.message, order: order.kind }, 'not done as a sibling did'))
    }),
    userIds,
    stopAgreeing,
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
            ask: (name, prompt, signal) => askCandidate(services, name, prompt, signal),
            onReward: (reward, interaction) => takeReward(services, reward, interaction),
            log,
          }),
    breakers,
    refusals,
    latencies: new Latencies(),
    metrics,
    log,
    afterAnswer: (record, call, decision) => afterAnswer(services, record, call, decision),
    async forgetUser(tenant, user) {
      services.erasures.note(tenant, user, Date.now())
      recorder.forget(tenant, user)
      await recorder.flush()
      return services.learner.forgetUser(tenant, user)
    },
    components: () => componentsOf(services),
    draining,
  }
  warnOfEmpty(snapshot(), log)
  await policies.warm(snapshot().tenants.values())
  return services
}

/** What a new configuration changes in a process that began with another. */
async function takeIn(services: Services, started: Config, next: Snapshot, old: Snapshot): Promise<void> {
  const { authenticator, admission, requests, policies, log } = services
  authenticator.configure(next.config)
  admission.configure(admissionOptions(next.config))
  void requests.unused(old).then(() => closeSnapshot(old))
  log.info({ candidates: next.candidates.length, tenants: next.tenants.size }, 'configuration reloaded')
  warnOfEmpty(next, log)
  const waiting = restartNeeded(started, next.config)
  if (waiting.length > 0) log.warn({ settings: waiting }, 'these settings count from the next start on')
  await policies.configure(next.config.router, next.config.tenants)
  await policies.warm(next.tenants.values())
}

/**
 * A local server that lists other models than it did, or a provider whose key is missing, empties a list without
 * anybody's mistake.
 */
function warnOfEmpty({ empty }: Snapshot, log: Logger): void {
  for (const { tenant, wanted } of empty) log.warn({ tenant, wanted }, 'no usable candidate has this name or group')
}

const admissionOptions = ({ server }: Config) => ({
  maxConcurrent: server.max_concurrent,
  maxQueue: server.max_queue,
})
