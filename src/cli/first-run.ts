import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { makeKey } from '../candidates/keys.ts'
import type { Config } from '../config/schema.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { kindOf } from '../providers/kind-schemas.ts'
import type { Store } from '../store/store.ts'

/**
 * The first tenant key: made on the first start where there is none, and kept in a file that only its owner can read,
 * so that later starts show it again. Null where there are other keys.
 */
export async function firstKey(store: Store, config: Config, file: string): Promise<string | null> {
  if (config.tenants.some(({ keys }) => keys.length > 0)) return null
  if (existsSync(file)) return readFileSync(file, 'utf8').trim()
  if ((await store.listKeys()).length > 0) return null
  const tenant = config.tenants[0]?.name ?? 'default'
  const { secret, record } = makeKey({
    tenant,
    name: 'first key',
    expiresAt: null,
    models: null,
    user: null,
    scopes: null,
  })
  await store.createKey(record)
  writeFileSync(file, `${secret}\n`, { mode: 0o600 })
  chmodSync(file, 0o600)
  return secret
}

export interface Welcome {
  server: Config['server']
  port: number
  key: string | null
  snapshot: Snapshot
}

/** A host as it stands in a URL; a wildcard is listened on, not called. */
function callable(host: string): string {
  if (host === '0.0.0.0' || host === '::' || host === '[::]') return '127.0.0.1'
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}

/** Prints address, candidates, key and a curl command to stderr; logs go to stdout. */
export function printWelcome({ server, port, key, snapshot }: Welcome): void {
  const url = `http${server.tls ? 's' : ''}://${callable(server.host)}:${port}`
  const isDemo = snapshot.candidates.every(({ provider }) => {
    const entry = snapshot.config.providers[provider]
    return entry !== undefined && kindOf(entry).isDemo
  })
  const lines = [
    '',
    `persona-router is listening on ${url}`,
    `candidates: ${snapshot.candidates.map(({ name }) => name).join(', ') || 'none (see /readyz)'}`,
    ...(isDemo && snapshot.candidates.length > 0
      ? ['No provider key is set, so the built-in sandbox answers. Set OPENAI_API_KEY (or another) and start again.']
      : []),
  ]
  if (key !== null) {
    lines.push(
      `tenant key: ${key}`,
      '',
      `curl ${url}/v1/chat/completions -H 'authorization: Bearer ${key}' -H 'x-user-id: ada' -H 'content-type: application/json' \\`,
      `  -d '{"model":"auto","messages":[{"role":"user","content":"What is 12 * 7?"}]}'`,
    )
  }
  process.stderr.write(`${lines.join('\n')}\n\n`)
}
