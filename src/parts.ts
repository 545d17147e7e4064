import type { UserIds } from './candidates/tenants.ts'
import type { Snapshot } from './config/snapshot.ts'
import type { ArmReport } from './learning/arm-report.ts'
import type { Erasures } from './learning/erasures.ts'
import type { Learner } from './learning/learner.ts'
import type { Judge } from './learning/sources/judge.ts'
import type { UserStates } from './learning/user-states.ts'
import type { Component } from './observability/components.ts'
import type { Latencies } from './observability/latencies.ts'
import type { Logger } from './observability/logger.ts'
import type { Metrics } from './observability/metrics.ts'
import type { Admission } from './pipeline/admission.ts'
import type { Authenticator } from './pipeline/authenticate.ts'
import type { Call } from './pipeline/call.ts'
import type { RequestContexts } from './pipeline/context.ts'
import type { Decision } from './pipeline/decide.ts'
import type { Settlements } from './pipeline/settlements.ts'
import type { Refusals } from './providers/dialect/refusals.ts'
import type { Breakers } from './providers/forward/breakers.ts'
import type { Policies } from './routing/policies/policies.ts'
import type { EphemeralMap } from './runtime/ephemeral-map.ts'
import type { Siblings } from './server/workers.ts'
import type { Recorder } from './store/recorder/recorder.ts'
import type { InteractionRecord } from './store/records/records.ts'
import type { ConversationState, Store } from './store/store.ts'

/** What a process is made of; built once, in `build-parts.ts`. */
export interface Services {
  /** The configuration in force; take it once a request. */
  snapshot(): Snapshot
  /** Reads the configuration again. @throws ConfigError, and the old one stays */
  reload(): Promise<void>
  store: Store
  recorder: Recorder
  authenticator: Authenticator
  admission: Admission
  erasures: Erasures
  /** Turns whose state is on its way to the store: the next request may be here before it is there. */
  pendingTurns: EphemeralMap<ConversationState>
  settlements: Settlements
  requests: RequestContexts
  siblings: Siblings
  userIds: UserIds
  /** Ends the wait for a secret of user ids that all replicas share. */
  stopAgreeing(): void
  policies: Policies
  users: UserStates
  learner: Learner
  arms: ArmReport
  /** Null where none is configured. */
  judge: Judge | null
  breakers: Breakers
  refusals: Refusals
  latencies: Latencies
  metrics: Metrics
  log: Logger
  /** Accounts and records an answer that has ended, off the request path. */
  afterAnswer(record: InteractionRecord, call: Call, decision: Decision): Promise<void> | undefined
  /** Erases a user, also from what is in memory and in flight. Returns how many rows went. */
  forgetUser(tenant: string, user: string): Promise<number>
  /** States of what can be worse than it should be, for `/readyz`. */
  components(): Promise<Record<string, Component>>
  draining(): boolean
}
