import type { DatabaseSync } from 'node:sqlite'
import { blockRange, INTERACTIONS, inBlock, type LogTable, REWARDS, rowsOfUser } from './log-tables.ts'

const ALL = [...INTERACTIONS, ...REWARDS]

/** Takes twice what is newer than which time stays (null: none). */
export const notNewer = (time: string) => `CASE WHEN ? IS NULL THEN 1 ELSE ${time} <= ? END`

/** Statements on the log's tables; in lists, of each table the same. */
export function prepareLog(db: DatabaseSync) {
  const prepare = (sql: string) => db.prepare(sql)
  return {
    openInteraction: prepare(`
      INSERT INTO open_interactions (tenant, id, user, ts, completion_id, state) SELECT ?, ?, ?, ?, ?, ?
      WHERE NOT EXISTS (SELECT 1 FROM interactions WHERE tenant = ? AND id = ?)
        AND NOT EXISTS (SELECT 1 FROM earlier_interactions WHERE tenant = ? AND id = ?)
      ON CONFLICT DO UPDATE SET completion_id = excluded.completion_id, state = excluded.state`),
    appendInteraction: prepare(`
      INSERT OR IGNORE INTO interactions (tenant, id, ts, user, completion_id, json, text, text_expires_at)
      SELECT ?, ?, ?, ?, ?, ?, ?, ?
      WHERE NOT EXISTS (SELECT 1 FROM earlier_interactions WHERE tenant = ? AND id = ?)`),
    appendReward: prepare(`
      INSERT OR IGNORE INTO rewards (tenant, interaction, user, kind, ts, json) SELECT ?, ?, ?, ?, ?, ?
      WHERE NOT EXISTS (
        SELECT 1 FROM earlier_rewards WHERE tenant = ? AND interaction = ? AND user = ? AND kind = ? AND ts = ?)`),

    findInteraction: INTERACTIONS.map((table) =>
      prepare(`SELECT user, json FROM ${table} WHERE tenant = ? AND id = ?`),
    ),
    findCompletions: INTERACTIONS.map((table) => ({
      blocks: prepare(blockRange(table)),
      /** Takes a block, tenant, the completion's id and how many at most. The newest come first. */
      ofBlock: prepare(`
        SELECT id, user, ts FROM ${table} WHERE ${inBlock(table)} AND tenant = ? AND completion_id = ?
        ORDER BY seq DESC LIMIT ?`),
    })),
    readInteractions: INTERACTIONS.map((table) => prepareReads(db, table, 'text, text_expires_at')),
    readRewards: REWARDS.map((table) => prepareReads(db, table, 'NULL AS text')),

    /** Each takes tenant and user. */
    hasRows: INTERACTIONS.map((table) => prepare(`${rowsOfUser(table)} LIMIT 1`)),
    /** Each takes the new id, tenant, the old one and how many rows at most. */
    moveSome: ALL.map((table) =>
      prepare(`UPDATE OR IGNORE ${table} SET user = ? WHERE seq IN (${rowsOfUser(table)} LIMIT ?)`),
    ),
    /** Each takes tenant, user, twice what is newer than which time stays (null: none), most rows. */
    eraseLog: ALL.map((table) => {
      const time = REWARDS.some((name) => name === table) ? "coalesce(json_extract(json, '$.asked_at'), ts)" : 'ts'
      return prepare(`DELETE FROM ${table} WHERE seq IN (${rowsOfUser(table)} AND ${notNewer(time)} LIMIT ?)`)
    }),
    dropInteraction: INTERACTIONS.map((table) => prepare(`DELETE FROM ${table} WHERE tenant = ? AND id = ?`)),
    dropReward: REWARDS.map((table) =>
      prepare(`DELETE FROM ${table} WHERE tenant = ? AND interaction = ? AND user = ? AND kind = ? AND ts = ?`),
    ),
  }
}

/** A table's rows in order. */
export type Reads = ReturnType<typeof prepareReads>

function prepareReads(db: DatabaseSync, table: LogTable, texts: string) {
  const columns = `SELECT seq, ts, tenant, user, json, ${texts} FROM ${table}`
  /** Takes since when, twice the time of the row before, its number, until when, and how many rows at most. */
  const range = 'ts >= ? AND (ts, seq) > (?, ?) AND ts <= ? ORDER BY ts, seq LIMIT ?'
  return {
    /** Takes the highest number first. */
    range: db.prepare(`${columns} WHERE seq <= ? AND ${range}`),
    newest: db.prepare(`SELECT max(seq) AS seq FROM ${table}`),
    blocks: db.prepare(blockRange(table)),
    /** Times and numbers alone; takes a block, tenant and user first. */
    ofUser: db.prepare(`SELECT ts, seq FROM ${table} WHERE ${inBlock(table)} AND tenant = ? AND user = ? AND ${range}`),
    /** Takes the row's number, tenant and user. */
    one: db.prepare(`${columns} WHERE seq = ? AND tenant = ? AND user = ?`),
  }
}
