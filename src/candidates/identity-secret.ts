import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Store } from '../store/store.ts'

const TRY_AGAIN_MS = 1_000

export interface IdentitySecret {
  secret: string
  /**
   * Asks the store until it answers, if it has not yet, and reports a secret that differs. Returns a function that
   * stops it.
   */
  agreeLater: (onChange: (secret: string) => void) => () => void
}

/**
 * The secret under which user ids are kept: the configured one, else one that is made on the first start and kept in
 * the store, so that every replica has the same. A copy is in a file, readable by its owner alone: a start without the
 * store keeps the ids.
 */
export async function identitySecret(
  configured: string | undefined,
  file: string,
  store: Pick<Store, 'sharedSecret'>,
): Promise<IdentitySecret> {
  const settled = (secret: string): IdentitySecret => ({ secret, agreeLater: () => () => undefined })
  if (configured !== undefined) return settled(configured)
  const own = ownSecret(file)
  const agree = async () => {
    const shared = await store.sharedSecret(own)
    if (shared !== own) replace(file, shared)
    return shared
  }
  try {
    return settled(await agree())
  } catch {
    return { secret: own, agreeLater: (onChange) => askAgain(agree, (secret) => secret !== own && onChange(secret)) }
  }
}

function askAgain(agree: () => Promise<string>, onAnswer: (secret: string) => void): () => void {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const ask = () => {
    agree().then(
      (secret) => stopped || onAnswer(secret),
      () => {
        if (!stopped) timer = setTimeout(ask, TRY_AGAIN_MS).unref()
      },
    )
  }
  ask()
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}

function ownSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  mkdirSync(dirname(file), { recursive: true })
  try {
    // 'wx': of two processes that start at once, one writes and the other reads.
    writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFileSync(file, 'utf8').trim()
}

function replace(file: string, secret: string): void {
  writeFileSync(`${file}.new`, `${secret}\n`, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}
