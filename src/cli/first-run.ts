import type { Config } from '../config/schema.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { kindOf } from '../providers/kind-schemas.ts'

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
      `tenant key: ${key} (shown until it is used)`,
      '',
      `curl ${url}/v1/chat/completions -H 'authorization: Bearer ${key}' -H 'x-user-id: ada' -H 'content-type: application/json' \\`,
      `  -d '{"model":"auto","messages":[{"role":"user","content":"What is 12 * 7?"}]}'`,
    )
  }
  process.stderr.write(`${lines.join('\n')}\n\n`)
}
