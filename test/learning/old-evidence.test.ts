import { readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { newTestFile, openTestStore } from './support.ts'

it('what docs/learning.md says deletes the sums of an old version deletes those alone', async () => {
  const [, sql] = /```sql\n(DELETE FROM evidence[^`]+)```/.exec(readFileSync('docs/learning.md', 'utf8')) ?? []
  const file = newTestFile()
  const store = openTestStore(file)
  const of = (version: string) => [
    ...['voices', 'lengths', 'forgotten'].map((kind) => `${kind}:${version}`),
    `certificate:${version}:base:line`,
  ]
  const kept = [...of('v1-2'), 'arms:own', 'arms:shared', 'ghost']
  for (const key of [...kept, ...of('v1')]) await store.addEvidence('acme', key, 'row', Float32Array.of(1))
  await store.close()
  const db = new DatabaseSync(file)
  db.exec((sql as string).replaceAll('<old version>', 'v1'))
  const left = db.prepare('SELECT policy FROM evidence ORDER BY policy').all()
  db.close()
  expect(left.map(({ policy }) => policy)).toEqual(kept.sort())
})
