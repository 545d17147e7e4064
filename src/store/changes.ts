import type { Invalidation } from './store.ts'

/** Listeners for changes in this process. One that throws does not affect the others. */
export class Listeners {
  readonly #listeners = new Set<(change: Invalidation) => void>()

  add(listener: (change: Invalidation) => void): () => void {
    // Two subscriptions of one function are two subscriptions.
    const own = (change: Invalidation) => listener(change)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  emit(change: Invalidation): void {
    for (const listener of this.#listeners) {
      try {
        listener(change)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
