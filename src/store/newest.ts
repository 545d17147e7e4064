/** A map that forgets what was set first when there is more than `max`. Cheaper than one that also notes what was looked up last. */
export class Newest<T> extends Map<string, T> {
  readonly #max: number

  constructor(max: number) {
    super()
    this.#max = max
  }

  override set(key: string, value: T): this {
    super.set(key, value)
    if (this.size > this.#max) this.delete(this.keys().next().value as string)
    return this
  }
}
