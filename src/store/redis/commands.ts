import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Cluster, Redis } from 'ioredis'
import { wellFormedJson } from '../../runtime/well-formed.ts'

const SCRIPTS = [
  'add-evidence',
  'append-interactions',
  'append-rewards',
  'batch',
  'check-in',
  'claim',
  'commit-user',
  'commit-user-earlier',
  'complete',
  'copy-interactions',
  'create-key',
  'drop-responses',
  'drop-rows',
  'drop-slices',
  'drop-user',
  'erase-conversations',
  'erase-log',
  'erase-user',
  'find-completions',
  'find-interaction',
  'find-items',
  'list-responses',
  'load-responses',
  'move-log',
  'move-usage',
  'move-user',
  'note-erasure',
  'note-move',
  'open-interactions',
  'raise-usage',
  'read-user-log',
  'renew-responses',
  'replace-edge',
  'revoke-key',
  'save-response',
] as const

export type Script = (typeof SCRIPTS)[number]
export type Argument = string | number | Buffer
/** Runs a script of `commands/`: `keys` and `args` as its head says. Strings in the reply are Buffers. */
export type RunScript = (script: Script, keys: string[], args: Argument[]) => Promise<unknown>

/** Runs a script for a tenant, within the usual deadline. */
export type RunFor = (tenant: string, script: Script, on: string[], args: Argument[]) => Promise<unknown>

/**
 * Sent by their hash; a server that does not have them (yet, or after a restart or SCRIPT FLUSH) gets them without the
 * caller seeing it. Not by ioredis' `defineCommand`: what was sent by it lived on until the next full collection
 * (docs/profile.md).
 */
export function defineScripts(client: Redis | Cluster): RunScript {
  const known = Object.fromEntries(SCRIPTS.map((name) => [name, readScript(name)])) as Record<Script, ScriptText>
  return async (script, keys, args) => {
    const { lua, sha1 } = known[script]
    try {
      return await client.callBuffer('evalsha', sha1, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return await client.callBuffer('eval', lua, keys.length, ...keys, ...args)
    }
  }
}

/** Those that `log-index.lua` stands before. */
const INDEXED: readonly Script[] = [
  ...(['append-interactions', 'drop-rows', 'drop-slices', 'erase-log', 'find-completions'] as const),
  ...(['find-interaction', 'open-interactions'] as const),
]

interface ScriptText {
  lua: string
  sha1: string
}

/** As it is sent. @internal tests know scripts by it */
export function readScript(name: Script): ScriptText {
  const textOf = (file: string) => readFileSync(new URL(file, import.meta.url), 'utf8')
  const lua = `${INDEXED.includes(name) ? textOf('log-index.lua') : ''}${textOf(`commands/${name}.lua`)}`
  return { lua, sha1: hash('sha1', lua) }
}

/**
 * One argument instead of thirty a request, each of which the client measures and frames. Large ones as bytes: strings
 * that ioredis puts together lived on until the next full collection (docs/profile.md).
 */
export const jsonArgument = (list: (string | number)[][]): Buffer => Buffer.from(wellFormedJson(list))
