import type { Candidate } from '../candidates/candidate.ts'
import type { Config } from '../config/schema.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { ArmReport } from '../learning/arm-report.ts'
import { Learner } from '../learning/learner.ts'
import { Lengths } from '../learning/lengths.ts'
import { type AskCandidate, askCandidate } from '../learning/sources/ask-candidate.ts'
import { Ghost } from '../learning/sources/ghost.ts'
import { Judge } from '../learning/sources/judge.ts'
import { Surges } from '../learning/surges.ts'
import { type RewardDeps, takeReward } from '../learning/take-reward.ts'
import type { UserStates } from '../learning/user-states.ts'
import type { VectorVault } from '../learning/vector-vault.ts'
import type { Webhook } from '../observability/webhook.ts'
import type { Breakers } from '../providers/forward/breakers.ts'
import { evidenceRules } from '../routing/choose/evidence.ts'
import { Gains } from '../routing/safety/gains.ts'
import type { RewardRecord } from '../store/records/codec.ts'
import type { InteractionSummary, Store } from '../store/store.ts'
import type { Made, Services } from './contract.ts'

interface LearningDeps extends Pick<RewardDeps, 'recorder' | 'policies' | 'metrics' | 'telemetry' | 'log'> {
  store: Store
  users: UserStates
  vault: VectorVault
  breakers: Breakers
  webhook: Webhook
  snapshot(): Snapshot
  find(name: string): Candidate | undefined
}

const HOUR_MS = 3_600_000

/** What learns from answers: ratings, comparisons and judges' words; and what is reported of it. */
export function createLearning(
  config: Config,
  deps: LearningDeps,
  made: Made,
): Pick<Services, 'learner' | 'lengths' | 'arms' | 'gains' | 'judge' | 'ghost'> {
  const { store, users, vault, recorder, policies, breakers, metrics, telemetry, webhook, log } = deps
  const surges = new Surges((surge) => {
    metrics.evidenceSurges.inc({ tenant: surge.tenant, candidate: surge.candidate })
    log.warn(surge, 'many new users rate one candidate alike: see /admin/evidence')
    void webhook.tell({ type: 'evidence.surge', data: surge })
  })
  const { min_answers, min_age_hours, half_life_days } = config.router.shared_evidence
  const learner = made(
    'learner',
    new Learner({
      store,
      states: users,
      vault,
      find: deps.find,
      policyFor: (tenant, user) => policies.snapshot(tenant, user).policy,
      hearing: { minAnswers: min_answers, minAgeMs: min_age_hours * HOUR_MS, halfLifeDays: half_life_days },
      userDays: (tenant) =>
        config.tenants.find(({ name }) => name === tenant)?.user_retention_days ?? config.privacy.user_retention_days,
      newUsersPerMinute: config.limits.new_users_per_minute,
      onFirstWord: (tenant, candidate, reward) => surges.note(tenant, candidate, reward),
      log,
    }),
  )
  const lengths = made(
    'lengths',
    new Lengths({
      store,
      find: deps.find,
      versions: () => policies.versions(),
      halfLifeDays: half_life_days,
      log,
    }),
  )
  const arms = made('arms', new ArmReport({ store, log }))
  const gains = made(
    'gains',
    new Gains({
      store,
      rules: evidenceRules(config.router),
      log,
      onVerdict: ({ tenant, policy, baseline }, group, { verdict, low, high, count }) => {
        metrics.gainVerdicts.inc({ tenant, verdict })
        const data = { tenant, policy, baseline, users: group, verdict, low, high, ratings: count }
        void webhook.tell({ type: 'gain.verdict', data })
        log.warn(data, 'gain over the baseline')
      },
    }),
  )
  const ofOwn = {
    ask: ((name, messages, signal, bounds) =>
      askCandidate(deps.snapshot(), breakers, name, messages, signal, bounds)) satisfies AskCandidate,
    onReward: (reward: RewardRecord, interaction: InteractionSummary) =>
      takeReward({ recorder, policies, learner, arms, gains, metrics, telemetry, log }, reward, interaction),
    tenants: () => deps.snapshot().tenants.size,
    log,
  }
  const { judge: judging, ghost: comparing } = config.router
  const judge = judging === undefined ? null : new Judge({ ...ofOwn, config: judging })
  const ghost = comparing === undefined ? null : new Ghost({ ...ofOwn, config: comparing, store, gains })
  return { learner, lengths, arms, gains, judge: made('judge', judge), ghost: made('ghost', ghost) }
}
