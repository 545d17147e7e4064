import { hash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'

/** Each entry takes the file one version further; never edit one that was released. */
const MIGRATIONS = [
  `
  CREATE TABLE keys (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, prefix TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER, models TEXT
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE users (
    tenant TEXT NOT NULL, user TEXT NOT NULL, revision INTEGER NOT NULL, policy TEXT NOT NULL, rewards INTEGER NOT NULL,
    sums BLOB NOT NULL, state BLOB NOT NULL, preferences TEXT NOT NULL, updated_at INTEGER NOT NULL,
    UNIQUE (tenant, user)
  ) STRICT;
  CREATE TABLE edges (
    tenant TEXT NOT NULL, user TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, edge BLOB NOT NULL,
    PRIMARY KEY (tenant, user, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX edges_in_order ON edges (tenant, user, seq);

  -- The answer's row as a JSON document; the other columns are what it is looked up by. Prompt text is apart: it goes earlier.
  CREATE TABLE interactions (
    seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL, ts INTEGER NOT NULL, user TEXT NOT NULL,
    completion_id TEXT, json TEXT NOT NULL, text TEXT, text_expires_at INTEGER,
    UNIQUE (tenant, id)
  ) STRICT;
  CREATE INDEX interactions_in_time ON interactions (ts);
  CREATE INDEX interactions_of_user ON interactions (tenant, user, ts);
  CREATE INDEX interactions_of_completion ON interactions (tenant, completion_id) WHERE completion_id IS NOT NULL;
  CREATE INDEX interactions_with_text ON interactions (text_expires_at) WHERE text_expires_at IS NOT NULL;
  CREATE TABLE open_interactions (
    tenant TEXT NOT NULL, id TEXT NOT NULL, user TEXT NOT NULL, ts INTEGER NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE rewards (
    seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, interaction TEXT NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL,
    ts INTEGER NOT NULL, json TEXT NOT NULL,
    UNIQUE (tenant, interaction, user, kind, ts)
  ) STRICT;
  CREATE INDEX rewards_in_time ON rewards (ts);
  CREATE INDEX rewards_of_user ON rewards (tenant, user, ts);

  CREATE TABLE conversations (
    tenant TEXT NOT NULL, id TEXT NOT NULL, user TEXT NOT NULL, state TEXT NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX conversations_of_user ON conversations (tenant, user);
  CREATE INDEX conversations_by_expiry ON conversations (expires_at);

  CREATE TABLE evidence (
    tenant TEXT NOT NULL, policy TEXT NOT NULL, candidate TEXT NOT NULL, sums BLOB NOT NULL,
    PRIMARY KEY (tenant, policy, candidate)
  ) STRICT, WITHOUT ROWID;

  -- When users (by a hash) were erased: older records of theirs that still wait in a spool are left out.
  CREATE TABLE erasures (
    tenant TEXT NOT NULL, user_hash TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (tenant, user_hash)
  ) STRICT, WITHOUT ROWID;

  -- What other processes on this file should drop from their caches.
  CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, at INTEGER NOT NULL, change TEXT NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE counters (
    tenant TEXT NOT NULL, counter TEXT NOT NULL, value INTEGER NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, counter)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX counters_by_expiry ON counters (expires_at);
  CREATE TABLE reservations (
    tenant TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, expires_at INTEGER NOT NULL, forget_at INTEGER NOT NULL,
    parts TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX reservations_open ON reservations (tenant, expires_at) WHERE state = 'open';
  CREATE INDEX reservations_by_age ON reservations (forget_at);
  CREATE TABLE idempotency (
    tenant TEXT NOT NULL, key TEXT NOT NULL, user TEXT NOT NULL, body TEXT NOT NULL, token TEXT NOT NULL, response BLOB,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
  ) STRICT;
  CREATE INDEX idempotency_of_user ON idempotency (tenant, user);
  CREATE INDEX idempotency_by_expiry ON idempotency (tenant, expires_at);
  `,
  `
  CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE responses (
    tenant TEXT NOT NULL, user TEXT NOT NULL, id TEXT NOT NULL, ts INTEGER NOT NULL, bytes INTEGER NOT NULL,
    response BLOB NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, user, id)
  ) STRICT;
  CREATE INDEX responses_by_expiry ON responses (tenant, expires_at);
  CREATE INDEX responses_by_age ON responses (expires_at);
  CREATE TABLE response_items (
    tenant TEXT NOT NULL, user TEXT NOT NULL, item TEXT NOT NULL, response TEXT NOT NULL,
    PRIMARY KEY (tenant, user, item)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX items_of_response ON response_items (tenant, user, response);
  CREATE TABLE response_bytes (tenant TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;

  -- However a row comes or goes: what is kept of a tenant, and the items of what is gone.
  CREATE TRIGGER response_added AFTER INSERT ON responses BEGIN
    INSERT INTO response_bytes VALUES (new.tenant, new.bytes)
      ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + excluded.bytes;
  END;
  CREATE TRIGGER response_gone AFTER DELETE ON responses BEGIN
    UPDATE response_bytes SET bytes = bytes - old.bytes WHERE tenant = old.tenant;
    DELETE FROM response_items WHERE tenant = old.tenant AND user = old.user AND response = old.id;
  END;
  `,
  `
  CREATE TABLE refusals (
    tenant TEXT NOT NULL, deployment TEXT NOT NULL, field TEXT NOT NULL, expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, deployment, field)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- Filled and emptied, to see whether the disk has room.
  CREATE TABLE room (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT;
  `,
  `
  ALTER TABLE users ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE users ADD COLUMN heard_at INTEGER NOT NULL DEFAULT 0;
  -- Sums by user id alone, whose authors nobody can tell apart any more.
  DELETE FROM evidence;
  `,
  'CREATE TABLE modes (tenant TEXT PRIMARY KEY, mode TEXT NOT NULL) STRICT, WITHOUT ROWID;',
  `
  -- Part of the key under which a user's vectors are sealed: it goes with the user.
  CREATE TABLE salts (
    tenant TEXT NOT NULL, user TEXT NOT NULL, salt BLOB NOT NULL, PRIMARY KEY (tenant, user)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX users_by_age ON users (tenant, updated_at);
  -- What clients call their requests is kept as a hash.
  UPDATE idempotency SET key = hash_of(key);
  `,
  `
  ALTER TABLE keys ADD COLUMN user TEXT;
  ALTER TABLE keys ADD COLUMN scopes TEXT;
  `,
  `
  CREATE TABLE replay_bytes (tenant TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO replay_bytes SELECT tenant, sum(length(response)) FROM idempotency WHERE response IS NOT NULL GROUP BY 1;
  CREATE TRIGGER replay_kept AFTER UPDATE OF response ON idempotency BEGIN
    INSERT INTO replay_bytes VALUES (new.tenant, coalesce(length(new.response), 0) - coalesce(length(old.response), 0))
      ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + excluded.bytes;
  END;
  CREATE TRIGGER replay_gone AFTER DELETE ON idempotency WHEN old.response IS NOT NULL BEGIN
    UPDATE replay_bytes SET bytes = bytes - length(old.response) WHERE tenant = old.tenant;
  END;
  `,
  `
  ALTER TABLE open_interactions ADD COLUMN completion_id TEXT;
  CREATE INDEX open_interactions_of_completion ON open_interactions (tenant, completion_id)
    WHERE completion_id IS NOT NULL;
  `,
  `
  -- What was used in a day, by UTC: by the tenant (id ''), its keys, its users.
  CREATE TABLE usage (
    tenant TEXT NOT NULL, day TEXT NOT NULL, scope TEXT NOT NULL, id TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, scope, id, model)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- Beliefs and edges, packed. Columns policy, sums and state of users and the rows of edges are of earlier versions:
  -- they go when their user is next written.
  CREATE TABLE memories (
    tenant TEXT NOT NULL, user TEXT NOT NULL, belief BLOB NOT NULL, older BLOB NOT NULL, history BLOB NOT NULL,
    UNIQUE (tenant, user)
  ) STRICT;
  `,
  `
  -- Rows of before stay where they are (log-tables.ts). Indexes by users and completions begin with the block of rows.
  ALTER TABLE interactions RENAME TO earlier_interactions;
  CREATE TABLE interactions (
    seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, id TEXT NOT NULL, ts INTEGER NOT NULL, user TEXT NOT NULL,
    completion_id TEXT, json TEXT NOT NULL, text TEXT, text_expires_at INTEGER,
    UNIQUE (tenant, id)
  ) STRICT;
  CREATE INDEX interactions_by_time ON interactions (ts);
  CREATE INDEX interactions_by_user ON interactions (seq / 65536, tenant, user, ts);
  CREATE INDEX interactions_by_completion ON interactions (seq / 65536, tenant, completion_id)
    WHERE completion_id IS NOT NULL;
  CREATE INDEX interactions_by_text ON interactions (text_expires_at) WHERE text_expires_at IS NOT NULL;

  ALTER TABLE rewards RENAME TO earlier_rewards;
  CREATE TABLE rewards (
    seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, interaction TEXT NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL,
    ts INTEGER NOT NULL, json TEXT NOT NULL,
    UNIQUE (tenant, interaction, user, kind, ts)
  ) STRICT;
  CREATE INDEX rewards_by_time ON rewards (ts);
  CREATE INDEX rewards_by_user ON rewards (seq / 65536, tenant, user, ts);
  `,
  `
  -- Users who have got another id: archives have them under the former one.
  CREATE TABLE moves (
    tenant TEXT NOT NULL, former TEXT NOT NULL, user TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (tenant, former)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX moves_by_user ON moves (tenant, user);
  CREATE INDEX moves_by_age ON moves (at);
  `,
]

/** @throws Error when the file was written by a newer version of this program */
export function migrate(db: DatabaseSync): void {
  const version = () => Number(db.prepare('PRAGMA user_version').get()?.user_version)
  if (version() === MIGRATIONS.length) return
  db.function('hash_of', (text) => hash('sha256', String(text), 'base64url'))
  db.exec('BEGIN IMMEDIATE')
  try {
    if (version() > MIGRATIONS.length) throw new Error('The database was written by a newer version of persona-router.')
    for (const migration of MIGRATIONS.slice(version())) db.exec(migration)
    db.exec(`PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`)
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}
