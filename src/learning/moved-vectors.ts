import type { Config } from '../config/schema.ts'
import { base64Of } from '../store/bytes.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import { summaryOf } from '../store/records/summary.ts'
import type { VectorVault } from './vector-vault.ts'

/** Query vectors of records that leave the store or come into it: of tenants with `training: vectors` alone. */
export function movedVectors({ tenants }: Pick<Config, 'tenants'>, vault: VectorVault) {
  const asked = new Set(tenants.filter(({ training }) => training === 'vectors').map(({ name }) => name))
  return {
    /** As exported. @throws StoreError */
    async open(record: InteractionRecord): Promise<InteractionRecord> {
      const { vector } = summaryOf(record)
      const opened = vector && asked.has(record.tenant) ? await vault.open(record.tenant, record.user, vector) : null
      return { ...record, embedding: opened && { int8: base64Of(opened.int8), scale: opened.scale } }
    },
    /** As stored. */
    async seal(record: InteractionRecord): Promise<InteractionRecord> {
      const { vector } = summaryOf(record)
      const seal = vector && asked.has(record.tenant) ? await vault.sealOf(record.tenant, record.user, record.ts) : null
      const plain = vector && 'plain' in vector.of ? vector.of.plain : null
      return { ...record, embedding: seal && plain ? { sealed: seal(plain) } : null }
    },
  }
}
