import { type LoadedConfig, loadConfig } from './load.ts'
import { type Live, makeLive } from './snapshot.ts'

/** The configuration in force, and the way to the next one. */
export class LiveConfig {
  readonly #path: string
  #current: Live
  #files: readonly string[]
  #reloading: Promise<void> = Promise.resolve()

  static async open(path: string, { config, files }: LoadedConfig): Promise<LiveConfig> {
    return new LiveConfig(path, await makeLive(config), files)
  }

  private constructor(path: string, live: Live, files: readonly string[]) {
    this.#path = path
    this.#current = live
    this.#files = files
  }

  get current(): Live {
    return this.#current
  }

  /** The file and all that it includes. */
  get files(): readonly string[] {
    return this.#files
  }

  /**
   * Reads the file again, one time after the other: of two, the later one counts.
   *
   * @param use takes in what has changed
   * @throws ConfigError, and the old one stays
   */
  reload(use: (next: Live, old: Live) => Promise<void>): Promise<void> {
    const done = this.#reloading.then(async () => {
      const { config, files } = loadConfig(this.#path)
      const old = this.#current
      this.#current = await makeLive(config)
      this.#files = files
      await use(this.#current, old)
    })
    this.#reloading = done.catch(() => undefined)
    return done
  }
}
