import { messagesOf } from '../../../src/learning/belief.ts'
import { Learner } from '../../../src/learning/learner.ts'
import { UserStates } from '../../../src/learning/user-states.ts'
import { VectorVault } from '../../../src/learning/vector-vault.ts'
import { PackedState } from '../../../src/routing/model/packed-state.ts'
import { openStore } from '../../../src/store/index.ts'
import type { Store } from '../../../src/store/store.ts'
import { silent } from '../../routing/support.ts'
import { startRedis } from '../../support/redis.ts'
import { findInPool, type People, storedId, TENANT } from './people.ts'

/** Of a user with so many ratings: bytes of their state in memory, and CPU of all threads, in microseconds. */
export interface UserCosts {
  /** A look-up: state found and unpacked, of a user who is not in memory, and of one who is here often. */
  coldUs: number
  hotUs: number
  coldBytes: number
  hotBytes: number
  /** A reward, whole, of a user who is in memory, and of one who is not; of it what the request thread does. */
  rewardUs: number
  strangerUs: number
  rewardThreadUs: number
  strangerThreadUs: number
  /** Likewise of users who are in memory and rate at the same time, eight of them. */
  togetherUs: number
  togetherThreadUs: number
  /** Of it, one run of `edge.onnx` for one reward: inevitable. */
  edgeUs: number
}

const MOST_REWARDED = 50
const TOGETHER = 8

const cpuUs = () => sumOf(process.cpuUsage())
const threadUs = () => sumOf(process.threadCpuUsage())
const sumOf = ({ user, system }: NodeJS.CpuUsage) => user + system

/** With a real redis-server. @param count users */
export async function userCosts(people: People, ratings: number, count: number): Promise<UserCosts> {
  const { policy } = people
  const redis = await startRedis()
  const store = await openStore({ kind: 'redis', url: redis.url, command_timeout_ms: 10_000, retention_days: 90 })
  for (let n = 0; n < count; n++) {
    const { user, edges } = await people.make(ratings, n % 16)
    await store.commitUser(TENANT, storedId(n), user, edges)
  }
  const state = new Float32Array(policy.router.artifact.dims.S)
  const states = statesOn(store)
  const bytes = new Float64Array(count)
  const meanBytes = () => bytes.reduce((sum, one) => sum + one) / count
  const look = async () => {
    const from = cpuUs()
    for (let n = 0; n < count; n++) {
      const profile = await states.get(policy, TENANT, storedId(n))
      if (!(profile.state instanceof PackedState)) throw new Error('The user is not there.')
      profile.state.writeTo(state, 0)
      bytes[n] = profile.state.bytes.length
    }
    return (cpuUs() - from) / count
  }
  for (let n = 0; n < Math.max(count, 200); n++) await states.get(policy, TENANT, storedId(n % count))
  for (let n = 0; n < count; n++) states.invalidate(TENANT, storedId(n))
  const coldUs = await look()
  const coldBytes = meanBytes()
  await look()
  const hotBytes = meanBytes()
  const hotUs = await look()
  states.close()
  const rewards = await rewardsOf(people, store, Math.min(count, MOST_REWARDED))
  await store.close()
  await redis.discard()
  return { coldUs, coldBytes, hotUs, hotBytes, ...rewards }
}

const statesOn = (store: Store) =>
  new UserStates({
    ...{ store, vault: new VectorVault(store, null), find: findInPool },
    ...{ max: 100_000, deadlineMs: 60_000, log: silent },
  })

async function rewardsOf(people: People, store: Store, count: number) {
  const { policy } = people
  const hearing = { minAnswers: 1e9, minAgeMs: 1e12, halfLifeDays: 90 }
  /** As a process that knows nobody yet. */
  const someone = () => {
    const states = statesOn(store)
    const learner = new Learner({
      ...{ store, states, vault: new VectorVault(store, null), find: findInPool, hearing, log: silent },
    })
    return { states, learner }
  }
  type Someone = ReturnType<typeof someone>
  const give = async ({ learner }: Someone, n: number, id: string) => {
    const [edge] = people.edges(1, n)
    const { candidate, reading, reader, promptTokens, completionTokens, costUsd } = edge!
    const about = { candidate, reading, reader, promptTokens, completionTokens, costUsd, vector: null }
    const now = Date.now()
    const interaction = { id, tenant: TENANT, user: storedId(n), conversation: null, ts: now, ended: true, ...about }
    const reward = { interaction: id, tenant: TENANT, user: storedId(n), kind: 'rating', value: 1, weight: 1 } as const
    const given = { ...reward, binary: true, ts: now, preferredModel: null, comment: null }
    const outcome = await learner.apply(policy, given, { ...interaction, vouched: true })
    if (outcome !== 'learned') throw new Error(outcome)
  }
  const all = async (by: Someone, round: string, inFlight = 1) => {
    const [from, ofThread] = [cpuUs(), threadUs()]
    let next = 0
    const giving = async () => {
      for (let n = next++; n < count; n = next++) await give(by, n, `${round}-${n}`)
    }
    await Promise.all(Array.from({ length: inFlight }, giving))
    return [(cpuUs() - from) / count, (threadUs() - ofThread) / count] as const
  }
  const rounds: Record<'away' | 'here' | 'together', (readonly [number, number])[]> = {
    away: [],
    here: [],
    together: [],
  }
  for (let round = 0; round < 4; round++) {
    const by = someone()
    const [away, here] = [await all(by, `away-${round}`), await all(by, `here-${round}`)]
    const together = await all(by, `together-${round}`, TOGETHER)
    await by.learner.close()
    by.states.close()
    // The first warms up.
    if (round === 0) continue
    rounds.away.push(away)
    rounds.here.push(here)
    rounds.together.push(together)
  }
  const edges = people.edges(1, 3)
  const from = cpuUs()
  for (let i = 0; i < 100; i++) await messagesOf(policy, TENANT, edges, findInPool)
  const edgeUs = (cpuUs() - from) / 100
  const [[strangerUs, strangerThreadUs], [rewardUs, rewardThreadUs]] = [best(rounds.away), best(rounds.here)]
  const [togetherUs, togetherThreadUs] = best(rounds.together)
  return { rewardUs, strangerUs, rewardThreadUs, strangerThreadUs, togetherUs, togetherThreadUs, edgeUs }
}

/** Of rounds: the one in which the machine had least else to do. */
const best = (rounds: (readonly [number, number])[]) => [...rounds].sort((a, b) => a[0] - b[0])[0]!
