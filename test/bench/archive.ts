// Makes a log, archives it, and reads it as retraining does: rows a second, bytes a row, memory of each step.
//   npm run bench:archive -- --rows 10000000
//   npm run bench:archive -- --rows 10000000 --retrain      retrains from so large an archive: archive-retrain.ts
// Days are made and archived one after the other, as in life, so that the store stays small.
import { spawnSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Archive } from '../../src/store/archive/archive.ts'
import { moveRows } from '../../src/store/archive/move.ts'
import type { InteractionRecord } from '../../src/store/records/codec.ts'
import { scoredCandidates } from '../../src/store/records/scored-candidates.ts'
import { SqliteStore } from '../../src/store/sqlite/store.ts'
import { anInteraction, aReward } from '../store/records.ts'
import { benchRetrain } from './archive-retrain.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '100000' },
    /** Interactions a day; one in ten is rated. */
    day: { type: 'string', default: '100000' },
    keep: { type: 'boolean', default: false },
    retrain: { type: 'boolean', default: false },
    /** With --retrain: rows that are made one by one, the rest being copies. */
    made: { type: 'string', default: '100000' },
    /** With --retrain: the copies go through the store, too. */
    store: { type: 'boolean', default: false },
  },
})
if (values.retrain) {
  await benchRetrain({ rows: Number(values.rows), made: Number(values.made), store: values.store, keep: values.keep })
  process.exit()
}
const [total, perDay] = [Number(values.rows), Number(values.day)]
const DAY_MS = 86_400_000
const FIRST = Date.UTC(2024, 0, 1)
const AT_ONCE = 500
const CANDIDATES = 12

const dir = mkdtempSync(join(tmpdir(), 'bench-archive-'))
const folder = join(dir, 'archive')
const store = new SqliteStore({ kind: 'sqlite', path: join(dir, 'store.db'), retention_days: 36_500 })
const archive = await Archive.open(folder, { make: true })
const spent = { making: 0, moving: 0 }
let peakBytes = 0
const watch = setInterval(() => {
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss())
}, 50)

async function timed(what: keyof typeof spent, work: () => Promise<unknown>): Promise<void> {
  const from = performance.now()
  await work()
  spent[what] += performance.now() - from
}

try {
  for (let made = 0, day = 0; made < total; day++) {
    const size = Math.min(perDay, total - made)
    const start = FIRST + day * DAY_MS
    await timed('making', () => makeDay(start, size))
    await timed('moving', () => moveRows(store, archive, { before: start + DAY_MS }))
    made += size
    if (day % 10 === 9) process.stderr.write(`${made} rows, ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MB\n`)
  }
  await archive.close()
  const reading = readAsRetraining()
  const bytes = sizeOf(folder)
  const rate = (ms: number) => Math.round(total / (ms / 1_000))
  console.log(`rows: ${total} interactions, ${Math.floor(total / 10)} ratings, ${Math.ceil(total / perDay)} days`)
  console.log(`archived: ${rate(spent.moving)} interactions a second, ${(spent.moving / total).toFixed(3)} ms each`)
  console.log(`  memory at most: ${Math.round(peakBytes / 2 ** 20)} MB, the making of rows included`)
  console.log(`  on disk: ${(bytes / 1e9).toFixed(3)} GB, ${Math.round(bytes / total)} bytes an interaction`)
  console.log(`read by retraining: ${reading.trim()}`)
} finally {
  clearInterval(watch)
  await archive.close()
  await store.close()
  if (values.keep) console.log(dir)
  else rmSync(dir, { recursive: true, force: true })
}

async function makeDay(start: number, size: number): Promise<void> {
  for (let i = 0; i < size; i += AT_ONCE) {
    const rows = Array.from({ length: Math.min(AT_ONCE, size - i) }, (_, j) =>
      anInteraction({
        ts: start + Math.floor(((i + j) / size) * DAY_MS),
        user: `user-${(i * 7 + j * 13) % 50_000}`,
        baselineUsd: 0.003,
        gain: null,
        ...made(),
      }),
    )
    await store.appendInteractions(rows)
    const rated = rows.filter((_, j) => j % 10 === 0)
    await store.appendRewards(
      rated.map(({ id, tenant, user, ts }) => aReward({ interaction: id, tenant, user, ts: ts + 1, askedAt: ts })),
    )
  }
}

/** What differs from answer to answer: noise, which no compression takes away. */
function made(): Partial<InteractionRecord> {
  const scores = Array.from({ length: CANDIDATES }, (_, i) => ({
    candidate: { name: `candidate-${i}` },
    ...{ mean: Math.random() - 0.5, std: Math.random() / 4, costUsd: Math.random() / 100 },
  }))
  const [promptTokens, completionTokens] = [randomInt(2_000), randomInt(1_000)]
  return {
    candidates: scoredCandidates(
      scores,
      scores.map(() => 1 / CANDIDATES),
      true,
    ),
    reading: { int8: randomBytes(38).toString('base64'), scale: Math.random() },
    conversation: randomBytes(16).toString('base64url'),
    chosen: `candidate-${randomInt(CANDIDATES)}`,
    usage: { promptTokens, completionTokens, cachedTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 },
    costUsd: Math.random() / 100,
    ttftMs: Math.random() * 1_000,
    totalMs: Math.random() * 9_000,
    overheadUs: randomInt(400),
  }
}

/** In a process of its own, whose memory is its own. */
function readAsRetraining(): string {
  const root = resolve(import.meta.dirname, '../..')
  const program = [
    'import resource, sys, time',
    'from router_model.retrain.log import open_log',
    'log, start, rows = open_log(sys.argv[1]), time.monotonic(), 0',
    'for kind in ("reward", "interaction"):',
    '    rows += sum(len(batch) for batch in log.read(kind, log.tenants()))',
    'seconds = time.monotonic() - start',
    'peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024',
    'print(f"{rows} rows, {rows / seconds:.0f} a second, memory at most {peak:.0f} MB")',
  ].join('\n')
  const python = join(root, 'router-model/.venv/bin/python')
  const env = { ...process.env, PYTHONPATH: join(root, 'router-model') }
  const { stdout, stderr } = spawnSync(python, ['-c', program, folder], { encoding: 'utf8', env })
  return stdout || stderr
}

function sizeOf(path: string): number {
  const files = readdirSync(path, { recursive: true, encoding: 'utf8' })
  return files.reduce((sum, name) => sum + statSync(join(path, name)).size, 0)
}
