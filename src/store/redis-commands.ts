import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'

const SCRIPTS = [
  'add-evidence',
  'append-interactions',
  'append-rewards',
  'claim',
  'commit-user',
  'complete',
  'create-key',
  'erase-log',
  'erase-user',
  'find-interaction',
  'open-interactions',
  'read-user-log',
  'revoke-key',
  'turn',
] as const

export type Script = (typeof SCRIPTS)[number]
export type Argument = string | number | Buffer
/** Runs a script of `commands/`: `keys` and `args` as its head says. Strings in the reply are Buffers. */
export type RunScript = (script: Script, keys: string[], args: Argument[]) => Promise<unknown>

/** Runs a script for a tenant, within the usual deadline. */
export type RunFor = (tenant: string, script: Script, on: string[], args: Argument[]) => Promise<unknown>

/** Sent by their hash; a server that lost them (restart, SCRIPT FLUSH) gets them again without the caller seeing it. */
export function defineScripts(client: Redis | Cluster): RunScript {
  for (const script of SCRIPTS) {
    const lua = readFileSync(new URL(`./commands/${script}.lua`, import.meta.url), 'utf8')
    client.defineCommand(script, { lua })
  }
  const commands = client as unknown as Record<string, (...args: Argument[]) => Promise<unknown>>
  return (script, keys, args) => commands[`${script}Buffer`]!(keys.length, ...keys, ...args)
}

/** One argument instead of thirty a request, each of which the client measures and frames (docs/profile.md). */
export function jsonArgument(list: (string | number)[][]): string {
  const json = JSON.stringify(list)
  // Half a character, which the server's reader of JSON refuses: with it all else in the list.
  if (!json.includes('\\ud')) return json
  return JSON.stringify(list, (_, value) => (typeof value === 'string' ? value.toWellFormed() : value))
}
