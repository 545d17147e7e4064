import { setTimeout as sleep } from 'node:timers/promises'
import { CLEAR, isClear, scrubEdges, scrubRows } from '../scrub.ts'
import type { ReadVectors, StoredEdge } from '../store.ts'
import { decodeOldEdge, encodeEdge } from '../stored-values.ts'
import type { SqliteFile } from './file.ts'
import { INTERACTIONS, type LogTable } from './log-tables.ts'

/** Rows a slice: SQLite blocks the process meanwhile. */
const SLICE = 200
const PAUSE_MS = 20

/**
 * Takes the query vectors that earlier versions kept in clear out of log and edges, in slices.
 *
 * @returns how many there were; once there were none, it is not looked again
 */
export async function scrubVectors(file: SqliteFile, read: ReadVectors): Promise<number> {
  if (await file.read(() => file.sql.isScrubbed.get())) return 0
  let scrubbed = await scrubAllEdges(file, read)
  for (const table of INTERACTIONS) scrubbed += await scrubLog(file, table, read)
  if (scrubbed > 0) await file.emptyWal()
  else await file.write(() => [void file.sql.noteScrubbed.run()])
  return scrubbed
}

async function scrubLog(file: SqliteFile, table: LogTable, read: ReadVectors): Promise<number> {
  const find = file.db.prepare(`SELECT seq, json FROM ${table} WHERE seq > ? ORDER BY seq LIMIT ?`)
  const replace = file.db.prepare(`UPDATE ${table} SET json = ? WHERE seq = ? AND json = ?`)
  let scrubbed = 0
  for (let last = -1; ; await sleep(PAUSE_MS, undefined, { ref: false })) {
    const all = await file.read(() => find.all(last, SLICE))
    if (all.length === 0) return scrubbed
    last = Number(all.at(-1)?.seq)
    const rows = all.filter(({ json }) => String(json).includes(CLEAR))
    if (rows.length === 0) continue
    const clean = await scrubRows(
      rows.map(({ json }) => String(json)),
      read,
    )
    await file.write(() => {
      for (const [i, { seq, json }] of rows.entries()) replace.run(clean[i] as string, seq as number, String(json))
      return [undefined]
    })
    scrubbed += rows.length
  }
}

async function scrubAllEdges(file: SqliteFile, read: ReadVectors): Promise<number> {
  const find = file.db.prepare(`
    SELECT tenant, user, id, edge FROM edges WHERE (tenant, user, id) > (?, ?, ?) ORDER BY tenant, user, id LIMIT ?`)
  const replace = file.db.prepare('UPDATE edges SET edge = ? WHERE tenant = ? AND user = ? AND id = ? AND edge = ?')
  let scrubbed = 0
  for (let [tenant, user, id] = ['', '', '']; ; await sleep(PAUSE_MS, undefined, { ref: false })) {
    const rows = await file.read(() => find.all(tenant, user, id, SLICE))
    const last = rows.at(-1)
    if (!last) return scrubbed
    ;[tenant, user, id] = [String(last.tenant), String(last.user), String(last.id)]
    const found = rows
      .map((row) => ({ row, edge: decodeOldEdge(row.edge as Uint8Array) }))
      .filter(({ edge }) => isClear(edge))
    for (const [of, some] of Map.groupBy(found, ({ row }) => String(row.tenant))) {
      const clean = await scrubEdges(
        of,
        some.map(({ edge }) => edge),
        read,
      )
      await file.write(() => {
        for (const [i, { row }] of some.entries()) {
          const bytes = encodeEdge(clean[i] as StoredEdge)
          replace.run(bytes, of, String(row.user), String(row.id), row.edge as Uint8Array)
        }
        return [undefined]
      })
      scrubbed += some.length
    }
  }
}
