/** `schema.ts` has it in indexes. */
const BLOCK_ROWS = 65_536

/**
 * The log's tables, the one that is written first. What an earlier version wrote stays in a table of its own until it
 * is archived or too old: to write millions of rows anew would take minutes.
 */
export const INTERACTIONS = ['interactions', 'earlier_interactions'] as const
export const REWARDS = ['rewards', 'earlier_rewards'] as const
export type LogTable = (typeof INTERACTIONS | typeof REWARDS)[number]

export const isEarlier = (table: LogTable) => table.startsWith('earlier_')

/**
 * In a block of rows. Users, and what providers call their answers, are in no order of time: an index of them over all
 * rows is read and written all over with each row that comes or goes. One that begins with the block is so in the pages
 * of one block alone; who looks something up looks into each. Earlier tables have no blocks.
 */
export const inBlock = (table: LogTable) => (isEarlier(table) ? '? = 0' : `seq / ${BLOCK_ROWS} = ?`)

/** Numbers of the first and the last block; null where there are no rows. */
export function blockRange(table: LogTable): string {
  if (isEarlier(table)) return 'SELECT 0 AS first, 0 AS last'
  return `SELECT (SELECT min(seq) FROM ${table}) / ${BLOCK_ROWS} AS first, (SELECT max(seq) FROM ${table}) / ${BLOCK_ROWS} AS last`
}

/** Selects the row ids of a user, of any block. @param tenant SQL, as `user` */
export function rowsOfUser(table: LogTable, tenant = '?', user = '?'): string {
  const of = `${table}.tenant = ${tenant} AND ${table}.user = ${user}`
  if (isEarlier(table)) return `SELECT ${table}.seq FROM ${table} WHERE ${of}`
  const [first, last] = ['min', 'max'].map((end) => `(SELECT ${end}(seq) FROM ${table}) / ${BLOCK_ROWS}`)
  return `
    WITH RECURSIVE blocks (n) AS (SELECT ${first} UNION ALL SELECT n + 1 FROM blocks WHERE n < ${last})
    SELECT ${table}.seq FROM blocks CROSS JOIN ${table} INDEXED BY ${table}_by_user
    WHERE ${table}.seq / ${BLOCK_ROWS} = blocks.n AND ${of}`
}
