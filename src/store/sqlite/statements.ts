import type { DatabaseSync } from 'node:sqlite'
import { notNewer, prepareLog } from './log-statements.ts'
import { INTERACTIONS, rowsOfUser } from './log-tables.ts'

/** Every statement of the SQLite store, prepared once. */
export function prepareStatements(db: DatabaseSync) {
  const prepare = (sql: string) => db.prepare(sql)
  const log = prepareLog(db)
  return {
    begin: prepare('BEGIN IMMEDIATE'),
    commit: prepare('COMMIT'),
    rollback: prepare('ROLLBACK'),
    ...log,

    findKey: prepare('SELECT * FROM keys WHERE hash = ?'),
    createKey: prepare('INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
    listKeys: prepare('SELECT * FROM keys WHERE ? IS NULL OR tenant = ? ORDER BY created_at, id'),
    revokeKey: prepare('UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? RETURNING tenant'),

    proposeSecret: prepare("INSERT OR IGNORE INTO secrets VALUES ('identity', ?)"),
    noteScrubbed: prepare("INSERT OR REPLACE INTO secrets VALUES ('scrubbed', '1')"),
    isScrubbed: prepare("SELECT 1 FROM secrets WHERE name = 'scrubbed'"),
    noteFingerprint: prepare("INSERT OR REPLACE INTO secrets VALUES ('fingerprint', ?)"),
    fingerprint: prepare("SELECT value FROM secrets WHERE name = 'fingerprint'"),
    sharedSecret: prepare("SELECT value FROM secrets WHERE name = 'identity'"),

    proposeSalt: prepare('INSERT OR IGNORE INTO salts VALUES (?, ?, ?)'),
    salt: prepare('SELECT salt FROM salts WHERE tenant = ? AND user = ?'),

    touchUser: prepare('UPDATE users SET updated_at = ? WHERE tenant = ? AND user = ?'),
    idleUsers: prepare('SELECT user FROM users WHERE tenant = ? AND updated_at < ? LIMIT ?'),
    dropUser: prepare('DELETE FROM users WHERE tenant = ? AND user = ?'),
    dropEdgesOf: prepare('DELETE FROM edges WHERE tenant = ? AND user = ?'),
    dropMemory: prepare('DELETE FROM memories WHERE tenant = ? AND user = ?'),
    /** What is of bounded size; each takes the new id, tenant and the old one. */
    moveUser: ['users', 'memories', 'edges', 'salts'].map((table) =>
      prepare(`UPDATE OR IGNORE ${table} SET user = ? WHERE tenant = ? AND user = ?`),
    ),
    /** Takes the new id, tenant, day and the old one. */
    moveUsage: prepare(`
      INSERT INTO usage SELECT tenant, day, scope, ?, model, requests, prompt_tokens, completion_tokens, nano_usd
      FROM usage WHERE tenant = ? AND day = ? AND scope = 'user' AND id = ?
      ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens, nano_usd = nano_usd + excluded.nano_usd`),
    dropUsage: prepare("DELETE FROM usage WHERE tenant = ? AND day = ? AND scope = 'user' AND id = ?"),

    /** Takes the new id, tenant and the old one. */
    passMoves: prepare('UPDATE moves SET user = ? WHERE tenant = ? AND user = ?'),
    noteMove: prepare('INSERT OR REPLACE INTO moves VALUES (?, ?, ?, ?)'),
    dropMove: prepare('DELETE FROM moves WHERE tenant = ? AND former = ?'),
    forgetMoves: prepare('DELETE FROM moves WHERE tenant = ? AND user = ?'),
    presentId: prepare('SELECT user FROM moves WHERE tenant = ? AND former = ?'),
    formerIds: prepare('SELECT former FROM moves WHERE tenant = ? AND user = ? ORDER BY former'),
    listMoves: prepare(`
      SELECT tenant, former, user FROM moves WHERE (tenant, former) > (?, ?) ORDER BY tenant, former LIMIT ?`),

    loadUser: prepare(`
      SELECT u.*, m.belief, m.older FROM users u LEFT JOIN memories m ON m.tenant = u.tenant AND m.user = u.user
      WHERE u.tenant = ? AND u.user = ?`),
    loadUserState: prepare(`
      SELECT revision, policy, rewards, state, preferences, updated_at, since, heard_at, m.belief
      FROM users u LEFT JOIN memories m ON m.tenant = u.tenant AND m.user = u.user
      WHERE u.tenant = ? AND u.user = ?`),
    userRevision: prepare('SELECT revision FROM users WHERE tenant = ? AND user = ?'),
    /** A belief that an earlier version wrote stays. */
    saveUser: prepare(`
      INSERT INTO users (tenant, user, revision, policy, rewards, sums, state, preferences, updated_at, since, heard_at)
      VALUES (?, ?, ?, '', ?, x'', x'', ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET revision = excluded.revision, rewards = excluded.rewards,
        preferences = excluded.preferences, updated_at = excluded.updated_at, since = excluded.since,
        heard_at = excluded.heard_at`),
    dropEarlierBelief: prepare(
      "UPDATE users SET policy = '', sums = x'', state = x'' WHERE tenant = ? AND user = ? AND policy <> ''",
    ),
    saveMemory: prepare('INSERT OR REPLACE INTO memories VALUES (?, ?, ?, ?, ?)'),
    loadMemory: prepare('SELECT belief, history FROM memories WHERE tenant = ? AND user = ?'),
    loadEarlierEdges: prepare('SELECT edge FROM edges WHERE tenant = ? AND user = ?'),

    closeInteraction: prepare('DELETE FROM open_interactions WHERE tenant = ? AND id = ?'),
    findOpenCompletions: prepare(
      'SELECT id, user, ts FROM open_interactions WHERE tenant = ? AND completion_id = ? ORDER BY ts DESC LIMIT ?',
    ),
    findOpenInteraction: prepare('SELECT state FROM open_interactions WHERE tenant = ? AND id = ?'),
    loadConversation: prepare('SELECT state FROM conversations WHERE tenant = ? AND id = ? AND expires_at > ?'),
    saveConversation: prepare('INSERT OR REPLACE INTO conversations VALUES (?, ?, ?, ?, ?)'),

    loadEvidence: prepare('SELECT candidate, sums FROM evidence WHERE tenant = ? AND policy = ?'),
    findEvidence: prepare('SELECT sums FROM evidence WHERE tenant = ? AND policy = ? AND candidate = ?'),
    saveEvidence: prepare('INSERT OR REPLACE INTO evidence VALUES (?, ?, ?, ?)'),
    dropEvidence: prepare('DELETE FROM evidence WHERE tenant = ? AND policy = ? AND candidate = ?'),
    dropAllEvidence: prepare('DELETE FROM evidence WHERE tenant = ? AND policy = ?'),

    noteRefusal: prepare(`
      INSERT INTO refusals VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)`),
    listRefusals: prepare(
      'SELECT deployment, field, expires_at FROM refusals WHERE tenant = ? AND expires_at > ? ORDER BY deployment, field',
    ),
    forgetRefusals: prepare(
      'DELETE FROM refusals WHERE tenant = ? AND deployment = coalesce(?, deployment) AND field = coalesce(?, field)',
    ),

    loadMode: prepare('SELECT mode FROM modes WHERE tenant = ?'),
    saveMode: prepare('INSERT OR REPLACE INTO modes VALUES (?, ?)'),
    dropMode: prepare('DELETE FROM modes WHERE tenant = ?'),

    listErasures: prepare('SELECT tenant, user_hash, at FROM erasures'),
    listErasuresOf: prepare('SELECT tenant, user_hash, at FROM erasures WHERE tenant = ?'),
    userErasure: prepare('SELECT 1 FROM erasures WHERE tenant = ? AND user_hash = ?'),
    noteErasure: prepare('INSERT OR REPLACE INTO erasures VALUES (?, ?, ?)'),
    raiseErasure: prepare(`
      INSERT INTO erasures VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = excluded.at WHERE at < excluded.at`),
    anyErasure: prepare('SELECT 1 FROM erasures LIMIT 1'),
    erasure: prepare('SELECT max(at) AS at FROM erasures WHERE tenant = ? AND user_hash IN (?, ?)'),
    raiseUsage: prepare(`
      INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET requests = max(requests, excluded.requests),
        prompt_tokens = max(prompt_tokens, excluded.prompt_tokens),
        completion_tokens = max(completion_tokens, excluded.completion_tokens), nano_usd = max(nano_usd, excluded.nano_usd)`),
    eraseUsage: prepare("DELETE FROM usage WHERE tenant = ? AND scope = 'user' AND id = ? AND day <= ?"),
    /** What is of bounded size; each takes tenant and user. */
    eraseAll: ['salts', 'users', 'edges'].map((table) => prepare(`DELETE FROM ${table} WHERE tenant = ? AND user = ?`)),
    dropUserAt: prepare('DELETE FROM users WHERE tenant = ? AND user = ? AND revision = ?'),
    /** Where nothing is sealed under it any more. */
    dropUnusedSalt: prepare(`
      DELETE FROM salts WHERE tenant = ? AND user = ?
        AND NOT EXISTS (SELECT 1 FROM users o WHERE o.tenant = salts.tenant AND o.user = salts.user)
        ${INTERACTIONS.map((table) => `AND NOT EXISTS (${rowsOfUser(table, 'salts.tenant', 'salts.user')})`).join(' ')}
        AND NOT EXISTS (SELECT 1 FROM open_interactions o WHERE o.tenant = salts.tenant AND o.user = salts.user)`),
    /** All else; each takes tenant, user, twice what is newer than which time stays (null: none), most rows. */
    eraseSome: [
      ...log.eraseLog,
      ...[
        ['idempotency', 'rowid', '0'],
        ['responses', 'rowid', 'ts'],
        ['open_interactions', 'tenant, id', 'ts'],
        ['conversations', 'tenant, id', "json_extract(state, '$.ts')"],
      ].map(([table, row, time]) =>
        prepare(`
          DELETE FROM ${table} WHERE (${row}) IN (
            SELECT ${row} FROM ${table} WHERE tenant = ? AND user = ?
            AND ${notNewer(String(time))} LIMIT ?)`),
      ),
    ],

    takeRoom: prepare('INSERT INTO room (filler) VALUES (zeroblob(8192))'),
    giveRoomBack: prepare('DELETE FROM room WHERE id = ?'),

    /** Another number whenever another connection changed the file. */
    dataVersion: prepare('PRAGMA data_version'),
    noteChange: prepare('INSERT INTO changes (origin, at, change) VALUES (?, ?, ?)'),
    /** Emptied, not deleted: a gap in the numbers means that something was missed. */
    forgetChanges: prepare('UPDATE changes SET change = \'{"kind":"all"}\' WHERE change = ?'),
    lastChange: prepare('SELECT max(seq) AS seq FROM changes'),
    changesSince: prepare('SELECT seq, origin, change FROM changes WHERE seq > ? ORDER BY seq LIMIT ?'),
  }
}
