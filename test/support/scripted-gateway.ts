import { readFileSync } from 'node:fs'
import { discard, type RunningGateway, startGateway, type TestConfig } from './gateway.ts'
import { replyPlain, type Script, startUpstream, type Upstream } from './upstream.ts'

export const PROVIDER_KEY = 'sk-provider-key-0123456789'

export interface ScriptedGateway {
  gateway: RunningGateway
  upstream: Upstream
  close: () => Promise<void>
}

/** The real gateway with one candidate, `one`, on a scripted upstream. */
export async function startScripted(config: TestConfig = {}, ...scripts: Script[]): Promise<ScriptedGateway> {
  const upstream = await startUpstream(...(scripts.length > 0 ? scripts : [replyPlain()]))
  const gateway = await startGateway({
    providers: {
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, api_key: PROVIDER_KEY },
    },
    candidates: [
      {
        name: 'one',
        provider: 'up',
        model: 'model-one',
        price: { input: 1, output: 2 },
        context_window: 1_000_000,
        capabilities: ['tools', 'vision'],
      },
    ],
    retries: { max_attempts: 1 },
    ...config,
  })
  return {
    gateway,
    upstream,
    close: async () => {
      await discard(gateway)
      await upstream.close()
    },
  }
}

/** Memory that a process holds, in bytes; null where the system does not say (only Linux does). */
export function residentBytes({ process }: RunningGateway): number | null {
  if (globalThis.process.platform !== 'linux') return null
  const status = readFileSync(`/proc/${process.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}

/**
 * Least of up to three goes: V8 may let its heap grow at any time, so that noise only ever adds, and what is held on to
 * is there in each of them.
 */
export async function leastGrowth(enough: number, go: () => Promise<number | null>): Promise<number | null> {
  let least = await go()
  for (let more = 0; least !== null && least >= enough && more < 2; more++) least = Math.min(least, (await go()) ?? 0)
  return least
}

/** The most that a process held while work went on, above what it held before; in bytes, null as above. */
export async function growthDuring(gateway: RunningGateway, work: () => Promise<unknown>): Promise<number | null> {
  const before = residentBytes(gateway)
  if (before === null) {
    await work()
    return null
  }
  let most = before
  const timer = setInterval(() => {
    most = Math.max(most, residentBytes(gateway) ?? 0)
  }, 20)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  return Math.max(most, residentBytes(gateway) ?? 0) - before
}
