import type { Component } from './components.ts'

/** Between two looks; a file on a disk of one's own is written to less often. */
const LOOK_MS = { redis: 5_000, sqlite: 30_000 }
/** For how long what was seen is told again, however many ask. */
const FRESH_MS = 1_000

interface Watched {
  readonly kind: keyof typeof LOOK_MS
  check(): Promise<string[]>
}

/**
 * Whether the store takes writes, and what else is wrong with it: looked at now and then, and whenever somebody asks.
 */
export class StoreHealth {
  readonly #store: Watched
  readonly #onChange: (component: Component) => void
  readonly #timer: NodeJS.Timeout
  #seen: Component | null = null
  #seenAt = 0
  #looking: Promise<Component> | null = null

  /** @param onChange it is better or worse than before, or in another way */
  constructor(store: Watched, onChange: (component: Component) => void) {
    this.#store = store
    this.#onChange = onChange
    this.#timer = setInterval(() => void this.#look(), LOOK_MS[store.kind]).unref()
    void this.#look()
  }

  /** Never rejects. */
  async state(): Promise<Component> {
    if (this.#seen && performance.now() - this.#seenAt < FRESH_MS) return this.#seen
    return this.#look()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): Promise<Component> {
    this.#looking ??= this.#ask().finally(() => {
      this.#looking = null
    })
    return this.#looking
  }

  async #ask(): Promise<Component> {
    const { kind } = this.#store
    const found: Component = await this.#store.check().then(
      (warnings): Component =>
        warnings.length === 0
          ? { state: 'ok', detail: kind }
          : { state: 'degraded', detail: `${kind}: ${warnings.join('; ')}` },
      (error: Error): Component => ({ state: 'degraded', detail: `${kind} takes no writes: ${error.message}` }),
    )
    const before = this.#seen
    this.#seen = found
    this.#seenAt = performance.now()
    if (before ? before.detail !== found.detail : found.state !== 'ok') this.#onChange(found)
    return found
  }
}
