import { setTimeout as sleep } from 'node:timers/promises'
import { discard, type RunningGateway, startGateway, type TestConfig } from '../support/gateway.ts'
import { startRedis } from '../support/redis.ts'
import { type Account, account } from './records.ts'
import { Traffic } from './traffic.ts'

const CLIENTS = 4
/** A kill comes somewhere within this time after the last recovery. */
const WITHIN_MS = 600

export interface KillReport extends Account {
  kills: { gateway: number; redis: number; both: number }
  requests: number
  /** Requests without a whole answer: in flight when the gateway died, or refused while it was being started again. */
  cutOff: number
}

/** How the gateway ends, where it is not killed. */
export interface Ending {
  env?: Record<string, string>
  end?: (gateway: RunningGateway) => Promise<unknown>
}

/**
 * kill -9 of the gateway, of Redis or of both at random moments under load, each started again on what it left on disk.
 * Redis writes every command to disk before it acknowledges it (`appendfsync always`): what it loses otherwise is its
 * own choice.
 *
 * @param config of the gateway, but for its store
 */
export async function killLoop(
  kills: number,
  config: TestConfig = {},
  tell: (line: string) => void = () => {},
  { env = {}, end = (gateway) => gateway.stop('SIGKILL') }: Ending = {},
): Promise<KillReport> {
  const redis = await startRedis('--appendonly', 'yes', '--appendfsync', 'always')
  const store = { kind: 'redis', url: redis.url }
  let gateway: RunningGateway = await startGateway({ ...config, store }, { env })
  const traffic = new Traffic({ url: () => gateway.url, key: gateway.key, clients: CLIENTS, only: 'plain', pauseMs: 2 })
  const counts = { gateway: 0, redis: 0, both: 0 }
  const killGateway = async () => {
    await end(gateway)
    gateway = await startGateway({ ...config, store }, { dir: gateway.dir, env })
  }
  try {
    for (let i = 0; i < kills; i++) {
      await traffic.more(CLIENTS)
      await sleep(Math.random() * WITHIN_MS)
      const what = (['gateway', 'redis', 'both'] as const)[i % 3]!
      counts[what]++
      tell(`kill ${i + 1} of ${kills}: ${what}`)
      if (what !== 'gateway') await redis.kill()
      if (what === 'both') await sleep(Math.random() * WITHIN_MS)
      if (what !== 'redis') await killGateway()
      if (what === 'redis') await traffic.more(2 * CLIENTS)
      if (what !== 'gateway') await redis.start()
    }
    await traffic.more(CLIENTS)
    await traffic.stop()
    return {
      kills: counts,
      requests: traffic.samples.length,
      cutOff: traffic.samples.filter(({ status }) => status === 0).length,
      ...(await account(redis.url, traffic.answered())),
    }
  } finally {
    await traffic.stop()
    await discard(gateway)
    await redis.discard()
  }
}
