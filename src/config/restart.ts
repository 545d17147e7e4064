import { isDeepStrictEqual } from 'node:util'
import type { Config } from './schema.ts'

/** What is read once, when the process starts, by its path in the configuration. */
const FIXED: Record<string, (config: Config) => unknown> = {
  'server.host': ({ server }) => server.host,
  'server.port': ({ server }) => server.port,
  'server.workers': ({ server }) => server.workers,
  'server.max_connections': ({ server }) => server.max_connections,
  'server.headers_timeout_ms': ({ server }) => server.headers_timeout_ms,
  store: ({ store }) => store,
  spool: ({ spool }) => spool,
  'router.watch': ({ router }) => router.watch,
  'router.device': ({ router }) => router.device,
  'router.embedder': ({ router }) => router.embedder,
  'router.fallback': ({ router }) => router.fallback,
  'router.shared_after_users': ({ router }) => router.shared_after_users,
  'router.user_cache': ({ router }) => router.user_cache,
  'router.judge': ({ router }) => router.judge,
  'identity.secret': ({ identity }) => identity.secret,
  'retries.breaker': ({ retries }) => retries.breaker,
  'log.level': ({ log }) => log.level,
}

/**
 * Settings that differ and that a reload can't change.
 *
 * @param started the configuration that the process started with
 * @returns paths, no values: they may be secrets
 */
export function restartNeeded(started: Config, next: Config): string[] {
  return Object.entries(FIXED)
    .filter(([, read]) => !isDeepStrictEqual(read(started), read(next)))
    .map(([path]) => path)
}
