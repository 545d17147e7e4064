import { DatabaseSync } from 'node:sqlite'
import { expect, test, vi } from 'vitest'
import { SqliteFile } from '../../../src/store/sqlite/file.ts'
import { SqliteUsage } from '../../../src/store/sqlite/usage.ts'

test('of one user’s sums their own rows are read, not those of all who come after them', async () => {
  const prepare = vi.spyOn(DatabaseSync.prototype, 'prepare')
  const file = new SqliteFile(
    ':memory:',
    () => {},
    () => {},
  )
  const usage = new SqliteUsage(file.db, (work) => file.read(work))
  const sql = prepare.mock.calls.map(([text]) => text).find((text) => text.includes('SELECT id, model, requests'))
  prepare.mockRestore()
  for (const id of ['ann', 'ben', 'bens', 'cleo']) {
    for (const model of ['large', 'small']) {
      file.db.prepare(`INSERT INTO usage VALUES ('acme', '2026-11-01', 'user', ?, ?, 1, 2, 3, 4)`).run(id, model)
    }
  }
  const read = async (id?: string) => {
    const rows = await usage.read('acme', { scope: 'user', from: '2026-11-01', to: '2026-11-02', ...(id && { id }) })
    return rows.map((row) => `${row.id} ${row.model}`)
  }
  expect(await read('ben')).toEqual(['ben large', 'ben small'])
  expect(await read('bob')).toEqual([])
  expect(await read()).toHaveLength(8)
  const plan = file.db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all('', '', '', '', '', null, 1)
  expect(plan.map(({ detail }) => detail)).toEqual([
    'SEARCH usage USING PRIMARY KEY (tenant=? AND day=? AND scope=? AND (id,model)>(?,?) AND id<?)',
  ])
  await file.close()
})
