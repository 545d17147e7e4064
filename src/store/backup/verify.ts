import type { BackupStore } from './contract.ts'
import type { Manifest } from './manifest.ts'
import { checkPart, readPart } from './parts.ts'
import { type BackupRow, fingerprintOfName, fingerprintOfRow, type RowType } from './rows.ts'

export interface Compared {
  /** Rows of the backup that are compared. */
  rows: number
  /** Those that the store has just so. */
  same: number
  /** Those of which the store knows nothing; what it knows otherwise has changed since. */
  missing: number
  /** Rows that the store has, those of the backup included. */
  stored: number
}

/**
 * Compares a store with a backup, row by row, by hashes. Takes 8 bytes of memory a row, 16 of what changes.
 *
 * @throws BackupError where a part is not as it was written. StoreError
 */
export async function compareWithStore(
  store: BackupStore,
  dir: string,
  { parts }: Pick<Manifest, 'parts'>,
  onProgress?: (progress: { rows: number; type: string }) => void,
): Promise<Partial<Record<RowType, Compared>>> {
  const wanted = new Map<RowType, Rows>()
  const rowsOf = (type: RowType) => wanted.get(type) ?? wanted.set(type, new Rows()).get(type)!
  let rows = 0
  for (const part of parts) {
    await checkPart(dir, part)
    for await (const batch of readPart(dir, part)) {
      eachHash(batch, (type, hash, name) => rowsOf(type).add(hash, name))
      rows += batch.length
      onProgress?.({ rows, type: 'backup' })
    }
  }
  const secret = await store.sharedSecret(null)
  if (secret !== null) eachHash([{ type: 'secret', secret }], (type, hash, name) => rowsOf(type).see(hash, name))
  for await (const { rows: batch } of store.backup.read('')) {
    eachHash(batch, (type, hash, name) => rowsOf(type).see(hash, name))
    rows += batch.length
    onProgress?.({ rows, type: 'store' })
  }
  return Object.fromEntries([...wanted].map(([type, some]) => [type, some.compared()]))
}

function eachHash(rows: readonly BackupRow[], work: (type: RowType, hash: bigint, name: bigint | null) => void): void {
  for (const row of rows) {
    const hash = fingerprintOfRow(row)
    if (hash !== null) work(row.type, hash, fingerprintOfName(row))
  }
}

/** Rows of one type: as they are, and by their names where they may change. */
class Rows {
  readonly #whole = new Hashes()
  #names: Hashes | null = null

  add(hash: bigint, name: bigint | null): void {
    this.#whole.add(hash)
    if (name === null) return
    this.#names ??= new Hashes()
    this.#names.add(name)
  }

  see(hash: bigint, name: bigint | null): void {
    this.#whole.see(hash)
    if (name !== null) this.#names?.see(name)
  }

  compared(): Compared {
    const { rows, same, stored } = this.#whole.compared()
    const names = this.#names?.compared() ?? { rows, same }
    return { rows, same, missing: names.rows - names.same, stored }
  }
}

/** A set of hashes, and which of them were seen again. */
class Hashes {
  #hashes = new BigUint64Array(1024)
  #length = 0
  #seen: Uint8Array | null = null
  #stored = 0

  add(hash: bigint): void {
    if (this.#length === this.#hashes.length) {
      const larger = new BigUint64Array(2 * this.#length)
      larger.set(this.#hashes)
      this.#hashes = larger
    }
    this.#hashes[this.#length++] = hash
  }

  see(hash: bigint): void {
    this.#stored++
    if (!this.#seen) this.#sort()
    let [from, to] = [0, this.#length]
    while (from < to) {
      const middle = (from + to) >>> 1
      if ((this.#hashes[middle] as bigint) < hash) from = middle + 1
      else to = middle
    }
    if (this.#seen && this.#hashes[from] === hash && from < this.#length) this.#seen[from] = 1
  }

  compared(): Omit<Compared, 'missing'> {
    if (!this.#seen) this.#sort()
    return { rows: this.#length, same: this.#seen?.reduce((sum, seen) => sum + seen, 0) ?? 0, stored: this.#stored }
  }

  /** A row that was read twice counts once. */
  #sort(): void {
    const sorted = this.#hashes.subarray(0, this.#length).sort()
    let length = 0
    for (const hash of sorted) if (length === 0 || sorted[length - 1] !== hash) sorted[length++] = hash
    this.#length = length
    this.#seen = new Uint8Array(length)
  }
}
