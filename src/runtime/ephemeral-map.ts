/**
 * A map for entries as short-lived as requests; beyond `max` entries the oldest is dropped.
 *
 * Not a `Map`: V8 links the table that a `Map` or `Set` has outgrown to the next one. Once such a table is old, all
 * later ones are kept until the next full collection, and all that was in them when they were left: here whole
 * requests, which young collections then had to copy (docs/profile.md). So tables hold boxes, and a box is emptied when
 * its entry goes.
 */
export class EphemeralMap<T> {
  readonly #boxes = new Map<string, Box<T>>()
  readonly #max: number

  constructor(max = Number.POSITIVE_INFINITY) {
    this.#max = max
  }

  get size(): number {
    return this.#boxes.size
  }

  get(key: string): T | undefined {
    return this.#boxes.get(key)?.value
  }

  set(key: string, value: T): void {
    const box = this.#boxes.get(key)
    if (box) box.value = value
    else {
      this.#boxes.set(key, { value })
      if (this.#boxes.size > this.#max) this.delete(this.#boxes.keys().next().value as string)
    }
  }

  has(key: string): boolean {
    return this.#boxes.has(key)
  }

  delete(key: string): boolean {
    const box = this.#boxes.get(key)
    if (box) box.value = undefined
    return this.#boxes.delete(key)
  }

  *[Symbol.iterator](): Generator<[string, T]> {
    for (const [key, { value }] of this.#boxes) yield [key, value as T]
  }
}

/** Empty where its entry has gone. */
interface Box<T> {
  value: T | undefined
}
