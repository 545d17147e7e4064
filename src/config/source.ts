import { type LoadedConfig, loadConfig } from './load.ts'
import { makeSnapshot, type Snapshot } from './snapshot.ts'

/** The configuration in force; `reload` replaces it. */
export class ConfigSource {
  readonly #path: string
  #current: Snapshot
  #files: readonly string[]
  #reloading: Promise<void> = Promise.resolve()

  static async open(path: string, { config, files }: LoadedConfig): Promise<ConfigSource> {
    return new ConfigSource(path, await makeSnapshot(config), files)
  }

  private constructor(path: string, snapshot: Snapshot, files: readonly string[]) {
    this.#path = path
    this.#current = snapshot
    this.#files = files
  }

  get current(): Snapshot {
    return this.#current
  }

  /** The file and all that it includes. */
  get files(): readonly string[] {
    return this.#files
  }

  /**
   * Reads the file again. Concurrent reloads run one after the other, so the latest wins.
   *
   * @param use applies the new configuration
   * @throws ConfigError; the old configuration stays
   */
  reload(use: (next: Snapshot, old: Snapshot) => Promise<void>): Promise<void> {
    const done = this.#reloading.then(async () => {
      const { config, files } = loadConfig(this.#path)
      const old = this.#current
      this.#current = await makeSnapshot(config)
      this.#files = files
      await use(this.#current, old)
    })
    this.#reloading = done.catch(() => undefined)
    return done
  }
}
