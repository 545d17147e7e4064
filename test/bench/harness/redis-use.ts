import type { RedisServer } from '../../support/redis.ts'
import type { Bench } from './bench.ts'
import type { Subject } from './subjects.ts'

/** What one request asks of Redis. */
export interface RedisUse {
  /** Commands, those inside scripts included. */
  commandsPerRequest: number
  /** CPU of the server, microseconds. */
  cpuUsPerRequest: number
  /** Bytes on the wire, both ways. */
  bytesPerRequest: number
  /** Bytes that stay: log row, index, conversation. */
  keptBytesPerRequest: number
}

/** Counts by the server's own INFO. */
export async function redisUse(bench: Bench, redis: RedisServer, subject: Subject, seconds: number): Promise<RedisUse> {
  await settled()
  const before = await info(redis)
  const { requests } = await bench.round(subject, { seconds, inFlight: 16, users: 512 })
  await settled()
  const after = await info(redis)
  const per = (name: string) => ((after.get(name) ?? 0) - (before.get(name) ?? 0)) / requests
  return {
    commandsPerRequest: per('total_commands_processed'),
    cpuUsPerRequest: (per('used_cpu_user') + per('used_cpu_sys')) * 1e6,
    bytesPerRequest: per('total_net_input_bytes') + per('total_net_output_bytes'),
    keptBytesPerRequest: per('used_memory_dataset'),
  }
}

/** Batches that are still on their way arrive. */
const settled = () => new Promise((done) => setTimeout(done, 500))

async function info(redis: RedisServer): Promise<Map<string, number>> {
  const text = String(await redis.command('INFO', 'everything'))
  return new Map(
    text.split('\r\n').flatMap((line): [string, number][] => {
      const [name = '', value = ''] = line.split(':')
      if (!value) return []
      return [[name, Number(/calls=(\d+)/.exec(value)?.[1] ?? value)]]
    }),
  )
}
