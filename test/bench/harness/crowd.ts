import { LRUCache } from 'lru-cache'
import { Pool } from 'undici'
import { startGateway, TEST_KEY } from '../../support/gateway.ts'
import type { RedisServer } from '../../support/redis.ts'
import { completionBody, replyPlain, startUpstream } from '../../support/upstream.ts'
import { newestArtifact } from './newest-artifact.ts'
import { nameOf, POOL, TENANT } from './people.ts'
import { type Quantiles, quantiles } from './quantiles.ts'

const IN_FLIGHT = 8
const WARM_UP = 2_000

export interface Crowd {
  users: number
  requests: number
  failures: number
  perSecond: number
  /** Milliseconds. */
  latency: Quantiles
  /** Share of the requests whose user was in the gateway's memory, by a cache like its own. */
  hits: number
}

export interface CrowdOptions {
  redis: RedisServer
  /** How many users are drawn from, each as likely. */
  users: number
  warmUp?: number
  /** Users that the gateway keeps in memory. */
  cache?: number
}

/** Random users of a gateway of their own. */
interface Asking {
  /** Asks for so many seconds more. */
  goOn(seconds: number): Promise<void>
  soFar(): Crowd
  stop(): Promise<void>
}

/** Seconds that a crowd asks before the next has its turn. */
const TURN_S = 15

/** Crowds by turns, each for so many seconds in all, so that what else the machine does meanwhile hits them alike. */
export async function crowds(all: readonly CrowdOptions[], seconds: number): Promise<Crowd[]> {
  const asking: Asking[] = []
  try {
    for (const options of all) asking.push(await startAsking(options))
    for (let left = seconds; left > 0; left -= TURN_S) {
      for (const one of asking) await one.goOn(Math.min(TURN_S, left))
    }
    return asking.map((one) => one.soFar())
  } finally {
    for (const one of asking) await one.stop()
  }
}

/** Requests of random users at a gateway of its own, with its upstream in this process. */
async function startAsking({ redis, users, warmUp = WARM_UP, cache = 10_000 }: CrowdOptions): Promise<Asking> {
  const upstream = await startUpstream(replyPlain(200, completionBody('A short answer.')))
  const gateway = await startGateway({
    store: { kind: 'redis', url: redis.url },
    router: { artifact: newestArtifact(), user_cache: cache },
    providers: {
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false, auth: 'none' },
    },
    candidates: POOL.map(({ name, price, vendor }) => ({ name, provider: 'up', price, vendor })),
    tenants: [{ name: TENANT, candidates: ['default'], keys: [TEST_KEY], plain_user_ids: true }],
  })
  const pool = new Pool(gateway.url, { connections: IN_FLIGHT })
  const took: number[] = []
  let failures = 0
  let askedS = 0
  // As the gateway keeps users in memory (`UserStates`): nobody is changed meanwhile.
  const kept = new LRUCache<string, true>({ max: cache })
  let hits = 0
  let asked = 0
  const ask = async () => {
    const user = nameOf(Math.floor(Math.random() * users))
    if (kept.get(user)) hits++
    kept.set(user, true)
    const from = performance.now()
    const { statusCode, body } = await pool.request({
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { authorization: `Bearer ${TEST_KEY}`, 'content-type': 'application/json', 'x-user-id': user },
      // Another question each time: the same one again is a reward of its own, for the answer before.
      body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: `How do I boil ${asked++} eggs?` }] }),
    })
    await body.dump()
    took.push(performance.now() - from)
    if (statusCode !== 200) failures++
  }
  const run = async (goesOn: () => boolean) => {
    const worker = async () => {
      while (goesOn()) await ask()
    }
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  }
  await run(() => took.length < warmUp)
  took.length = 0
  hits = 0
  return {
    async goOn(seconds) {
      const startedAt = performance.now()
      await run(() => performance.now() - startedAt < seconds * 1000)
      askedS += (performance.now() - startedAt) / 1000
    },
    soFar() {
      const requests = took.length
      return {
        users,
        requests,
        failures,
        perSecond: requests / askedS,
        latency: quantiles(took),
        hits: hits / requests,
      }
    },
    async stop() {
      await pool.close()
      await gateway.stop()
      await upstream.close()
    },
  }
}
