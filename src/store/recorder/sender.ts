import { type Store, StoreError } from '../store.ts'
import { appendRows, type Row } from './row.ts'

/** Brings rows to the store. */
export class Sender {
  readonly store: Store
  readonly #reject: (row: Row, error: unknown) => void

  /** @param reject keeps a row that the store will never take */
  constructor(store: Store, reject: (row: Row, error: unknown) => void) {
    this.store = store
    this.#reject = reject
  }

  /** @throws StoreError when the store is away */
  async send(rows: readonly Row[]): Promise<void> {
    try {
      await appendRows(this.store, rows)
    } catch (error) {
      if (error instanceof StoreError) throw error
      for (const row of rows) await this.#sendAlone(row)
    }
  }

  /** One bad row must not hold up the others for ever. */
  async #sendAlone(row: Row): Promise<void> {
    try {
      await appendRows(this.store, [row])
    } catch (error) {
      if (error instanceof StoreError) throw error
      this.#reject(row, error)
    }
  }
}
