// Writes the log that is in a store many times over into it, each time with users, answers and days of their own, as
// the gateway's rows: `node test/bench/archive-fill.ts store.db 99`, or some of the copies: `… store.db 50 26`
import { hash } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'

const DAY_MS = 86_400_000

const [path = '', copies = '1', first = '1'] = process.argv.slice(2)
const db = new DatabaseSync(path)
db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -524288; PRAGMA temp_store = 2')
/** As the gateway's own: the time, and what is random (`request-ids.ts`). */
db.function('id_of', { deterministic: true }, (ts, id, copy) => {
  const [time, rest] = [Number(ts).toString(16).padStart(12, '0'), hash('sha256', `${id}-${copy}`)]
  return `req_${time.slice(0, 8)}-${time.slice(8)}-8${rest.slice(0, 3)}-8${rest.slice(3, 6)}-${rest.slice(6, 18)}`
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
    SELECT tenant, json, id_of(ts - :earlier, id, :copy) AS name, ts - :earlier AS at, user || '-' || :copy AS who,
      'chatcmpl-' || hex(randomblob(14)) AS said
    FROM interactions WHERE seq <= :last ORDER BY ts LIMIT -1)`)
const rewards = db.prepare(`
  INSERT INTO rewards (tenant, interaction, user, kind, ts, json)
  SELECT tenant, name, who, kind, at, json_set(json, '$.interaction', name, '$.ts', at, '$.user', who)
  FROM (
    SELECT r.tenant, r.kind, r.json, id_of(i.ts - :earlier, i.id, :copy) AS name, r.ts - :earlier AS at,
      r.user || '-' || :copy AS who
    FROM rewards r JOIN interactions i ON i.tenant = r.tenant AND i.id = r.interaction
    WHERE r.seq <= :last ORDER BY r.ts LIMIT -1)`)
// The oldest come first, as in life.
for (let copy = Number(copies); copy >= Number(first); copy--) {
  const earlier = copy * days * DAY_MS
  db.exec('BEGIN')
  // A number would be a REAL there, and 2 be written 2.0.
  const of = { copy: BigInt(copy), earlier: BigInt(earlier) }
  interactions.run({ ...of, last: last.interactions })
  rewards.run({ ...of, last: last.rewards })
  db.exec('COMMIT')
}
db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
const rows = count('SELECT count(*) AS n FROM interactions') + count('SELECT count(*) AS n FROM rewards')
console.log(`${rows.toLocaleString('en')} rows in the store`)
db.close()
