// Writes the log that is in a store many times over into it, each time with users, answers and days of their own, as
// the gateway's rows: `node test/bench/archive-fill.ts store.db 99`, or some of the copies: `… store.db 50 26`
import { hash } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'

const DAY_MS = 86_400_000

const [path = '', copies = '1', first = '1'] = process.argv.slice(2)
const db = new DatabaseSync(path)
db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -524288; PRAGMA temp_store = 2')
/** As random as the gateway's own. */
db.function('id_of', { deterministic: true }, (prefix, id, copy) => {
  const hex = hash('sha256', `${id}-${copy}`)
  return `${prefix}${[hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-')}`
})
const count = (sql: string) => Number(db.prepare(sql).get()?.n)
/** The rows that are copied: what is a copy has a user of another name. */
const own = (table: string) => count(`SELECT max(seq) AS n FROM ${table} WHERE user NOT LIKE 'user-%-%'`)
const last = { interactions: own('interactions'), rewards: own('rewards') }
const days = count(`
  SELECT 1 + max(ts) / ${DAY_MS} - min(ts) / ${DAY_MS} AS n FROM interactions WHERE seq <= ${last.interactions}`)
const interactions = db.prepare(`
  INSERT INTO interactions (tenant, id, ts, user, completion_id, json)
  SELECT tenant, name, at, who, said, json_set(json, '$.id', name, '$.ts', at, '$.user', who, '$.completion_id', said)
  FROM (
    SELECT seq, tenant, json, id_of('req_', id, :copy) AS name, ts - :earlier AS at, user || '-' || :copy AS who,
      id_of('chatcmpl-', id, :copy) AS said
    FROM interactions WHERE seq <= :last ORDER BY seq LIMIT -1)`)
const rewards = db.prepare(`
  INSERT INTO rewards (tenant, interaction, user, kind, ts, json)
  SELECT tenant, name, who, kind, at, json_set(json, '$.interaction', name, '$.ts', at, '$.user', who)
  FROM (
    SELECT seq, tenant, kind, json, id_of('req_', interaction, :copy) AS name, ts - :earlier AS at,
      user || '-' || :copy AS who
    FROM rewards WHERE seq <= :last ORDER BY seq LIMIT -1)`)
// The oldest come first, as in life.
for (let copy = Number(copies); copy >= Number(first); copy--) {
  const earlier = copy * days * DAY_MS
  db.exec('BEGIN')
  interactions.run({ copy, earlier, last: last.interactions })
  rewards.run({ copy, earlier, last: last.rewards })
  db.exec('COMMIT')
}
db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
const rows = count('SELECT count(*) AS n FROM interactions') + count('SELECT count(*) AS n FROM rewards')
console.log(`${rows.toLocaleString('en')} rows in the store`)
db.close()
