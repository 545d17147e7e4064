import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { makeFolder } from '../runtime/make-folder.ts'
import type { Secrets } from '../runtime/seal.ts'
import type { Store } from '../store/store.ts'

const TRY_AGAIN_MS = 1_000
/** A store may lose what it had without breaking a connection. */
const LOOK_AGAIN_MS = 30_000

type SecretStore = Pick<Store, 'sharedSecret' | 'secretFingerprint' | 'subscribe'>

export interface IdentityOptions {
  /** The configured secret; without one it is made on the first start and kept in the store. */
  configured: string | undefined
  /** Secrets that were in use before. */
  previous: readonly string[]
  /** Where a copy of a made one is kept, readable by its owner alone: a start without the store keeps the ids. */
  file: string
  store: SecretStore
  /** Other secrets are in use from now on. */
  onChange: (secrets: Secrets) => void
  /** Called when replicas that run turn out to have another secret. */
  onProblem: (problem: string) => void
  lookEveryMs?: number
}

/**
 * Under which secret user ids are kept, and that all replicas have the same: the store knows it by a fingerprint. A
 * store that lost its data is told again, when it is back.
 */
export class IdentitySecret {
  /** Whether the replicas keep ids under another secret, in words; null = they don't. */
  problem: string | null = null
  readonly #options: IdentityOptions
  #secrets: Secrets
  #timer: NodeJS.Timeout | undefined
  #looking: NodeJS.Timeout | undefined
  #stop: () => void = () => undefined
  #stopped = false
  #isOpen = false

  private constructor(options: IdentityOptions) {
    this.#options = options
    const own = options.configured ?? ownSecret(options.file)
    this.#secrets = [own, ...options.previous]
  }

  static async open(options: IdentityOptions): Promise<IdentitySecret> {
    const identity = new IdentitySecret(options)
    try {
      await identity.#agree()
    } catch {
      identity.#askLater()
    }
    identity.#isOpen = true
    // After an interruption the store may be another one, or empty.
    identity.#looking = setInterval(() => identity.#ask(), options.lookEveryMs ?? LOOK_AGAIN_MS).unref()
    identity.#stop = options.store.subscribe(({ kind }) => kind === 'all' && identity.#ask())
    return identity
  }

  /** The first one is in use. */
  get secrets(): Secrets {
    return this.#secrets
  }

  close(): void {
    this.#stopped = true
    this.#stop()
    clearTimeout(this.#timer)
    clearInterval(this.#looking)
  }

  #ask(): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    this.#agree().catch(() => this.#askLater())
  }

  #askLater(): void {
    if (!this.#stopped) this.#timer = setTimeout(() => this.#ask(), TRY_AGAIN_MS).unref()
  }

  /** @throws StoreError */
  async #agree(): Promise<void> {
    const { store, configured, file } = this.#options
    const [own, ...others] = this.#secrets
    const shared = await (configured === undefined ? store.sharedSecret(own) : store.sharedSecret(null))
    if (configured === undefined && shared !== null && shared !== own) {
      replace(file, shared)
      this.#use([shared, own, ...others])
    }
    // The one that was made before one was configured.
    if (configured !== undefined && shared !== null && !this.#secrets.includes(shared)) {
      this.#use([...this.#secrets, shared])
    }
    const [current, ...before] = this.#secrets
    const noted = await store.secretFingerprint(fingerprintOf(current), before.map(fingerprintOf))
    const known = this.problem
    this.problem = noted === fingerprintOf(current) ? null : ANOTHER
    if (this.problem !== null && known === null && this.#isOpen) this.#options.onProblem(this.problem)
  }

  #use(secrets: Secrets): void {
    if (this.#stopped) return
    this.#secrets = secrets
    if (this.#isOpen) this.#options.onChange(secrets)
  }
}

const ANOTHER =
  'secret: what is in the store is kept under another secret. Configure that one, or put it into identity.previous_secrets'

/** Tells a secret from others, and nothing else. */
export const fingerprintOf = (secret: string) =>
  createHash('sha256').update(`fingerprint of an identity secret\0${secret}`).digest('base64url').slice(0, 16)

function ownSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  makeFolder(dirname(file))
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
