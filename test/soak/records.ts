import type { RedisConfig } from '../../src/config/schema.ts'
import { openStore } from '../../src/store/index.ts'

export interface Account {
  answered: number
  recorded: number
  /** Answered, and not recorded. */
  lost: string[]
  /** Recorded more than once. */
  doubled: string[]
}

/** Compares what clients have with what Redis has, again and again until nothing is missing or the time is up. */
export async function account(url: string, answered: readonly string[], withinMs = 30_000): Promise<Account> {
  const config: RedisConfig = { kind: 'redis', url, command_timeout_ms: 2_000, retention_days: 90 }
  const store = await openStore(config)
  const until = performance.now() + withinMs
  try {
    for (;;) {
      const counts = new Map<string, number>()
      for await (const rows of store.readInteractions({})) {
        for (const { id } of rows) counts.set(id, (counts.get(id) ?? 0) + 1)
      }
      const lost = answered.filter((id) => !counts.has(id))
      if (lost.length === 0 || performance.now() > until) {
        const doubled = [...counts].filter(([, count]) => count > 1).map(([id]) => id)
        return { answered: answered.length, recorded: counts.size, lost, doubled }
      }
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  } finally {
    await store.close()
  }
}
