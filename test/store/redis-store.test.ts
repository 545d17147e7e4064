import type { RedisConfig } from '../../src/config.ts'
import { openStore } from '../../src/store/index.ts'
import { storeContract } from '../contracts/store.ts'
import { startRedis, startRedisCluster } from '../support/redis.ts'

const config = (server: Partial<RedisConfig>): RedisConfig => ({
  kind: 'redis',
  command_timeout_ms: 2_000,
  retention_days: 36_500,
  ...server,
})

storeContract('Redis', async () => {
  const server = await startRedis()
  return { open: () => openStore(config({ url: server.url })), discard: () => server.discard() }
})

storeContract('Redis Cluster of three nodes', async () => {
  const cluster = await startRedisCluster()
  return { open: () => openStore(config({ cluster: cluster.addresses })), discard: () => cluster.discard() }
})
