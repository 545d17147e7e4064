import { dirname, join, resolve } from 'node:path'
import { PendingFeedback } from './api/pending-feedback.ts'
import { FirstKey } from './candidates/first-key.ts'
import { withFormerIds } from './candidates/former-ids.ts'
import { candidateNamed } from './candidates/former-names.ts'
import { IdentitySecret } from './candidates/identity-secret.ts'
import { UserIds } from './candidates/tenants.ts'
import { vaultSecrets } from './config/cross-check.ts'
import { ConfigError } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { closeSnapshot } from './config/snapshot.ts'
import type { ConfigSource } from './config/source.ts'
import { openEmbedder } from './embedding/index.ts'
import { Erasures } from './learning/erasures.ts'
import { withFormerNames } from './learning/former-names.ts'
import { UserRetention } from './learning/user-retention.ts'
import { UserStates } from './learning/user-states.ts'
import { VectorScrub } from './learning/vector-scrub.ts'
import { VectorVault } from './learning/vector-vault.ts'
import { Latencies } from './observability/latencies.ts'
import type { Logger } from './observability/logger.ts'
import { createMetrics } from './observability/metrics.ts'
import { StoreHealth } from './observability/store-health.ts'
import { openTelemetry } from './observability/telemetry/open.ts'
import { Webhook } from './observability/webhook.ts'
import { Admission } from './pipeline/admission.ts'
import { Authenticator } from './pipeline/authenticate.ts'
import { RequestContexts } from './pipeline/context.ts'
import { Conversations } from './pipeline/conversation.ts'
import { Entry } from './pipeline/entry.ts'
import { HeldBytes, heldBytesOptions } from './pipeline/held-bytes.ts'
import { Quota } from './pipeline/quota/quota.ts'
import { RequestIds } from './pipeline/request-ids.ts'
import { Refusals } from './providers/dialect/refusals.ts'
import { Breakers, deploymentOf } from './providers/forward/breakers.ts'
import { answers } from './providers/forward/probe.ts'
import { modelThread } from './routing/model/thread.ts'
import { Policies } from './routing/policies/policies.ts'
import { Modes } from './routing/safety/modes.ts'
import { Background } from './runtime/background.ts'
import { Seal } from './runtime/seal.ts'
import type { Made, Overrides, Services } from './services/contract.ts'
import { createLearning } from './services/learning.ts'
import { admissionOptions, reloadOf, siblingsOf, warnOfEmpty } from './services/reload.ts'
import { tellingOfRows } from './services/rows-passed-by.ts'
import { openStore } from './store/index.ts'
import { Recorder } from './store/recorder/recorder.ts'

/** Directory of files that a process makes for itself: beside the spool. */
export const dataDirOf = (config: Config) => dirname(resolve(config.spool.path))

/**
 * Opens the store, loads the artifacts, and builds all parts.
 *
 * @throws ArtifactError where one is required. @throws StoreError
 */
export async function createServices(source: ConfigSource, log: Logger, overrides: Overrides = {}): Promise<Services> {
  const { config } = source.current
  const snapshot = () => source.current
  const find = (name: string) => candidateNamed(snapshot().candidates, name)
  const made: Made = (name, part) => overrides[name]?.(part) ?? part

  const metrics = made('metrics', createMetrics())
  const webhook = made('webhook', new Webhook(() => snapshot().config.webhook, { metrics, log }))
  const telemetry = made('telemetry', await openTelemetry(config.telemetry, { metrics, log }))
  const onStoreError = (call: string) => metrics.storeErrors.inc({ call })
  const opened = await openStore(config.store, config.server.workers, {
    passedBy: tellingOfRows({ metrics, log }),
  })
  const identity = made(
    'identity',
    await IdentitySecret.open({
      configured: config.identity.secret,
      previous: config.identity.previous_secrets,
      file: join(dataDirOf(config), 'identity-secret'),
      store: opened,
      onChange(secrets) {
        log.warn('the replicas keep user ids under another secret: it is used from now on')
        userIds.use(secrets)
        seal.use(secrets)
        requestIds.use(secrets[0])
      },
      onProblem: (problem) => log.error({ problem }, 'user ids differ between replicas'),
    }),
  )
  if (identity.problem !== null) throw new ConfigError('identity', [identity.problem])
  const userIds = made('userIds', new UserIds(identity.secrets))
  const seal = made('seal', new Seal(identity.secrets, 'responses'))
  const store = made(
    'store',
    withFormerNames(withFormerIds(opened, userIds), () => snapshot().config),
  )
  store.ping().catch((error: Error) => log.warn({ reason: error.message }, 'the store does not answer'))
  const recorder = made(
    'recorder',
    new Recorder(store, config.spool, {
      away: (error) => log.warn({ reason: error.message }, 'store away: records wait in the spool'),
      back: () => log.info('store back'),
      dropped: (total) => log.error({ total }, 'spool full: records are lost'),
      rejected: (error) => log.error({ err: error }, 'the store refuses a record'),
    }),
  )
  const policies = made(
    'policies',
    await Policies.open({
      config: config.router,
      tenants: config.tenants,
      openEmbedder: (artifact) => openEmbedder(config.router.embedder, artifact),
      loadEvidence: (tenant, policy) => store.loadEvidence(tenant, policy),
      candidatesOf: (tenant) => snapshot().tenants.get(tenant)?.candidates ?? snapshot().candidates,
      log,
      onLoad: (result, reason) => {
        metrics.artifactLoads.inc({ result })
        if (reason !== undefined) void webhook.tell({ type: 'artifact.refused', data: { reason } })
      },
    }),
  )
  const vault = made('vault', new VectorVault(store, vaultSecrets(config)))
  const users = made(
    'users',
    new UserStates({
      store,
      vault,
      find,
      max: config.router.user_cache,
      get deadlineMs() {
        return snapshot().config.router.deadline_ms
      },
      log,
      onStoreError,
    }),
  )
  const breakers = made(
    'breakers',
    new Breakers(
      config.retries.breaker,
      (deployment, state) => log.warn({ deployment, state }, 'breaker'),
      async (deployment) => {
        const candidate = snapshot().candidates.find((one) => deploymentOf(one) === deployment)
        const provider = candidate && snapshot().providers.get(candidate.provider)
        return !candidate || !provider || answers(candidate, provider)
      },
    ),
  )
  const refusals = made('refusals', new Refusals(store))
  const modes = made('modes', new Modes(store, log))
  store.subscribe((change) => {
    if (change.kind === 'mode') modes.refresh(change.tenant)
    if (change.kind === 'all') modes.suspectAll()
    if (change.kind === 'evidence') policies.refreshEvidence(change.tenant)
    if (change.kind === 'refusals') refusals.reload(change.tenant)
    if (change.kind === 'all') refusals.reloadAll()
    if (change.kind === 'all') for (const tenant of snapshot().tenants.keys()) policies.refreshEvidence(tenant)
  })

  const requestIds = made('requestIds', new RequestIds(identity.secrets[0]))
  const learning = createLearning(
    config,
    { store, users, vault, recorder, policies, breakers, metrics, telemetry, webhook, snapshot, find, log },
    made,
  )
  const firstKey = made('firstKey', new FirstKey(join(dataDirOf(config), 'first-key')))
  const authenticator = made('authenticator', new Authenticator(store, config, (record) => firstKey.used(record)))
  const admission = made('admission', new Admission(admissionOptions(config)))
  const heldBytes = made('heldBytes', new HeldBytes(heldBytesOptions(config)))
  const requests = made('requests', new RequestContexts(heldBytes, requestIds))
  const quota = made(
    'quota',
    new Quota(store.limits, {
      onStoreError,
      onLocal: (tenant, reason) => log.warn({ tenant, reason }, 'limits are counted by this process'),
      onBack: (tenant) => log.info({ tenant }, 'limits are counted by the store again'),
      onLost: (tenant, counters) => log.error({ tenant, counters }, 'the store lost budgets: they are brought back'),
      keep: (charge) => recorder.charge(charge),
    }),
  )
  const reload = reloadOf(source, config, { authenticator, heldBytes, admission, requests, policies, webhook, log })

  const services: Services = {
    snapshot,
    reload,
    configState: () => source.state,
    store,
    storeHealth: made(
      'storeHealth',
      new StoreHealth(store, ({ state, detail }) => {
        metrics.storeDegraded.set(state === 'ok' ? 0 : 1)
        log[state === 'ok' ? 'info' : 'warn']({ detail }, 'the store')
      }),
    ),
    recorder,
    authenticator,
    firstKey,
    background: made('background', new Background()),
    entry: made('entry', new Entry({ quota, userIds })),
    heldBytes,
    admission,
    erasures: made('erasures', new Erasures()),
    conversations: made('conversations', new Conversations(store, () => onStoreError('loadConversation'))),
    quota,
    requests,
    requestIds,
    pendingFeedback: made(
      'pendingFeedback',
      new PendingFeedback({ lost: (tenant) => metrics.feedbackLost.inc({ tenant }) }),
    ),
    siblings: made('siblings', siblingsOf(reload, policies, log)),
    userIds,
    seal,
    identity,
    vectorScrub: made('vectorScrub', new VectorScrub({ store, policies, log })),
    userRetention: made('userRetention', new UserRetention({ store, config: () => snapshot().config, log })),
    policies,
    users,
    vault,
    ...learning,
    modes,
    breakers,
    refusals,
    latencies: made('latencies', new Latencies()),
    metrics,
    telemetry,
    webhook,
    log,
  }
  warnOfEmpty(snapshot(), log)
  await policies.warm(snapshot().tenants.values())
  for (const tenant of snapshot().tenants.keys()) modes.refresh(tenant)
  return services
}

/** Learning from the last answers takes at most so long. */
const SETTLE_MS = 5_000

/** Closes all that `createServices` opened, each part after those that use it. Requests must have ended. */
export async function closeServices(services: Services): Promise<void> {
  const { learner, arms, lengths, policies, users, vault, judge, ghost, quota, recorder, store, log } = services
  services.identity.close()
  services.userRetention.close()
  services.vectorScrub.close()
  await services.background.settled(SETTLE_MS)
  await services.pendingFeedback.close()
  services.storeHealth.close()
  await Promise.all([judge?.close(), ghost?.close()])
  await learner.close()
  await arms.flush().catch((error: unknown) => log.warn({ err: error }, 'rewards by policy not kept'))
  await lengths.close()
  await policies.close()
  await modelThread.close()
  users.close()
  vault.close()
  await quota.close()
  services.webhook.close()
  await services.telemetry?.close()
  await recorder.close().catch((error: unknown) => log.error({ err: error }, 'records stay in the spool'))
  await closeSnapshot(services.snapshot())
  await store.close()
}
