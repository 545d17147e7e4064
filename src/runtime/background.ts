/** Counts work that nobody waits for, so that the end can. */
export class Background {
  #running = 0
  #idle: PromiseWithResolvers<void> | null = null

  begin(): void {
    this.#running++
  }

  end(): void {
    this.#running--
    if (this.#running === 0) this.#idle?.resolve()
  }

  /** Resolves when nothing runs, or after `withinMs`. */
  async settled(withinMs: number): Promise<void> {
    if (this.#running === 0) return
    this.#idle = Promise.withResolvers()
    const timer = setTimeout(this.#idle.resolve, withinMs)
    await this.#idle.promise
    clearTimeout(timer)
  }
}
