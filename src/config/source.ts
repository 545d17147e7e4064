import type { OwnCertificate } from '../runtime/certificates.ts'
import { ConfigError, type LoadedConfig, loadConfig } from './load.ts'
import { makeSnapshot, type Snapshot } from './snapshot.ts'

/** How the configuration in force relates to its files. */
export interface ConfigState {
  /** Unix milliseconds: when what is in force was read. */
  readAt: number
  /** Why the files as they are now can't be used; null where they are in force. */
  problem: string | null
  /** Those that are in use. */
  certificates: readonly OwnCertificate[]
}

/** The configuration in force; `reload` replaces it. */
export class ConfigSource {
  readonly #path: string
  #current: Snapshot
  #files: readonly string[]
  #state: ConfigState
  #reloading: Promise<void> = Promise.resolve()
  readonly #listeners: ((next: Snapshot) => void)[] = []

  static async open(path: string, loaded: LoadedConfig): Promise<ConfigSource> {
    return new ConfigSource(path, await makeSnapshot(loaded.config), loaded)
  }

  private constructor(path: string, snapshot: Snapshot, { files, certificates }: Omit<LoadedConfig, 'config'>) {
    this.#path = path
    this.#current = snapshot
    this.#files = files
    this.#state = { readAt: Date.now(), problem: null, certificates }
  }

  get current(): Snapshot {
    return this.#current
  }

  /** The file and all that it includes. */
  get files(): readonly string[] {
    return this.#files
  }

  get state(): ConfigState {
    return this.#state
  }

  /** Calls `listener` with each configuration that comes into force from now on. */
  onChange(listener: (next: Snapshot) => void): void {
    this.#listeners.push(listener)
  }

  /**
   * Reads the file again. Concurrent reloads run one after the other, so the latest wins.
   *
   * @param use applies the new configuration
   * @throws ConfigError; the old configuration stays, and `state` says why
   */
  reload(use: (next: Snapshot, old: Snapshot) => Promise<void>): Promise<void> {
    const done = this.#reloading.then(() => this.#reload(use))
    this.#reloading = done.catch(() => undefined)
    return done
  }

  async #reload(use: (next: Snapshot, old: Snapshot) => Promise<void>): Promise<void> {
    const old = this.#current
    let certificates: readonly OwnCertificate[]
    try {
      const loaded = loadConfig(this.#path)
      this.#current = await makeSnapshot(loaded.config)
      this.#files = loaded.files
      certificates = loaded.certificates
    } catch (error) {
      // Also what only the broken version includes: its mending is to be seen.
      if (error instanceof ConfigError) this.#files = [...new Set([...this.#files, ...error.files])]
      this.#state = { ...this.#state, problem: (error as Error).message }
      throw error
    }
    this.#state = { readAt: Date.now(), problem: null, certificates }
    for (const listener of this.#listeners) listener(this.#current)
    await use(this.#current, old)
  }
}
