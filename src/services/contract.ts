import type { PendingFeedback } from '../api/pending-feedback.ts'
import type { FirstKey } from '../candidates/first-key.ts'
import type { IdentitySecret } from '../candidates/identity-secret.ts'
import type { UserIds } from '../candidates/tenants.ts'
import type { Snapshot } from '../config/snapshot.ts'
import type { ConfigState } from '../config/source.ts'
import type { ArmReport } from '../learning/arm-report.ts'
import type { Erasures } from '../learning/erasures.ts'
import type { Learner } from '../learning/learner.ts'
import type { Lengths } from '../learning/lengths.ts'
import type { Ghost } from '../learning/sources/ghost.ts'
import type { Judge } from '../learning/sources/judge.ts'
import type { UserRetention } from '../learning/user-retention.ts'
import type { UserStates } from '../learning/user-states.ts'
import type { VectorScrub } from '../learning/vector-scrub.ts'
import type { VectorVault } from '../learning/vector-vault.ts'
import type { Latencies } from '../observability/latencies.ts'
import type { Logger } from '../observability/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { StoreHealth } from '../observability/store-health.ts'
import type { Telemetry } from '../observability/telemetry/telemetry.ts'
import type { Webhook } from '../observability/webhook.ts'
import type { Admission } from '../pipeline/admission.ts'
import type { Authenticator } from '../pipeline/authenticate.ts'
import type { RequestContexts } from '../pipeline/context.ts'
import type { Conversations } from '../pipeline/conversation.ts'
import type { Entry } from '../pipeline/entry.ts'
import type { HeldBytes } from '../pipeline/held-bytes.ts'
import type { Quota } from '../pipeline/quota/quota.ts'
import type { RequestIds } from '../pipeline/request-ids.ts'
import type { Refusals } from '../providers/dialect/refusals.ts'
import type { Breakers } from '../providers/forward/breakers.ts'
import type { Policies } from '../routing/policies/policies.ts'
import type { Gains } from '../routing/safety/gains.ts'
import type { Modes } from '../routing/safety/modes.ts'
import type { Background } from '../runtime/background.ts'
import type { Seal } from '../runtime/seal.ts'
import type { Siblings } from '../server/workers.ts'
import type { Recorder } from '../store/recorder/recorder.ts'
import type { Store } from '../store/store.ts'

/** All parts of a process; a function names the few that it uses. */
export interface Services {
  /** The configuration in force; a request takes it once. */
  snapshot(): Snapshot
  /** Reads the configuration again. @throws ConfigError, and the old one stays */
  reload(): Promise<void>
  configState(): ConfigState
  store: Store
  storeHealth: StoreHealth
  recorder: Recorder
  authenticator: Authenticator
  firstKey: FirstKey
  background: Background
  entry: Entry
  heldBytes: HeldBytes
  admission: Admission
  erasures: Erasures
  conversations: Conversations
  quota: Quota
  requests: RequestContexts
  requestIds: RequestIds
  pendingFeedback: PendingFeedback
  siblings: Siblings
  userIds: UserIds
  /** Of what is kept of responses, here and by clients. */
  seal: Seal
  /** Under which user ids are kept. */
  identity: IdentitySecret
  userRetention: UserRetention
  vectorScrub: VectorScrub
  policies: Policies
  users: UserStates
  /** Of query vectors, where a tenant asked for them. */
  vault: VectorVault
  learner: Learner
  lengths: Lengths
  arms: ArmReport
  gains: Gains
  modes: Modes
  /** Null where none is configured. */
  judge: Judge | null
  /** Null where none is configured. */
  ghost: Ghost | null
  breakers: Breakers
  refusals: Refusals
  latencies: Latencies
  metrics: Metrics
  /** Null where none is configured. */
  telemetry: Telemetry | null
  webhook: Webhook
  log: Logger
}

/** Changes or replaces parts right after they are made, before others get them. */
export type Overrides = { readonly [Name in keyof Services]?: (made: Services[Name]) => Services[Name] }

/** Notes that a part was made. @returns it, or what overrides put in its place */
export type Made = <Name extends keyof Services>(name: Name, part: Services[Name]) => Services[Name]
