import { WHOLE_TENANT } from './erasures.ts'
import type { SqliteFile } from './file.ts'
import { inSteps } from './steps.ts'

/**
 * Erases a tenant: the rows of every table that names it, in slices. First notes when, so that what comes later of
 * requests that began before is left out.
 *
 * @returns how many rows went
 */
export async function eraseTenant(file: SqliteFile, tenant: string): Promise<number> {
  await file.write(() => {
    file.sql.noteErasure.run(tenant, WHOLE_TENANT, Date.now())
    return [undefined, { kind: 'keys', tenant }]
  })
  let gone = 0
  for (const table of tablesWithTenants(file)) {
    const drop = file.db.prepare(sliceOf(file, table))
    gone += await inSteps(file, (most) => Number(drop.run(tenant, most).changes))
  }
  await file.write(() => [undefined, { kind: 'all' }])
  await file.emptyWal()
  return gone
}

function tablesWithTenants({ db }: SqliteFile): string[] {
  const rows = db.prepare(`
    SELECT DISTINCT m.name AS name FROM sqlite_master m JOIN pragma_table_info(m.name) c
    WHERE m.type = 'table' AND c.name = 'tenant' AND m.name <> 'erasures' ORDER BY m.name`)
  return rows.all().map(({ name }) => String(name))
}

/** Takes the tenant, and how many rows. A table without row ids has a primary key. */
function sliceOf({ db }: SqliteFile, table: string): string {
  const columns = db.prepare('SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk').all(table)
  const key = columns.length > 0 ? columns.map(({ name }) => `"${name}"`).join(', ') : 'rowid'
  return `DELETE FROM "${table}" WHERE (${key}) IN (SELECT ${key} FROM "${table}" WHERE tenant = ? LIMIT ?)`
}
