/**
 * Installs what the bench compares with, into `.cache/peers`: Portkey's gateway from npm and LiteLLM's proxy from PyPI.
 * They are no dependencies.
 *
 *     npm run bench:peers
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PEERS_DIR } from './harness/subjects.ts'

const run = (what: string, command: string, args: readonly string[], cwd: string): boolean => {
  const { status, error } = spawnSync(command, args, { cwd, stdio: 'inherit' })
  if (status !== 0) console.error(`${what}: not installed (${error?.message ?? `${command} ended with ${status}`})`)
  return status === 0
}

const portkey = join(PEERS_DIR, 'portkey')
mkdirSync(portkey, { recursive: true })
writeFileSync(join(portkey, 'package.json'), '{ "private": true }\n')
// Its own patches of its development tools are not needed to run it.
run('Portkey', 'npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '@portkey-ai/gateway'], portkey)

const litellm = join(PEERS_DIR, 'litellm')
const python = process.env.PYTHON ?? 'python3'
if (run('LiteLLM', python, ['-m', 'venv', litellm], PEERS_DIR)) {
  run('LiteLLM', join(litellm, 'bin/pip'), ['install', '--quiet', 'litellm[proxy]'], PEERS_DIR)
}
