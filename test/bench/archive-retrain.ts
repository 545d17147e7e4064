// Retrains from an archive of so many interactions, every one of them rated: seconds, CPU and memory of each step.
//   npm run bench:archive -- --retrain --rows 10000000
//   npm run bench:archive -- --retrain --rows 5000000 --store
// Some rows are made, imported and archived by the commands that an operator uses; the rest are copies of them with
// users, answers and days of their own, for making all of them request by request takes hours. With --store the copies
// are made in the store, and all of them are archived by the command; then one user is erased.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { SqliteStore } from '../../src/store/sqlite/store.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const PYTHON = join(ROOT, 'router-model/.venv/bin/python')
/** Runs a command, and tells what it took, in a process whose memory is its own; the tree is looked at as it runs. */
const TOLD = `
import os, resource, subprocess, sys, threading, time

def tree():
    """Resident memory of this process's descendants, MB: what they share counts for each."""
    sizes, of = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        of.setdefault(fields[1], []).append(pid)
        sizes[pid] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    total, todo = 0, list(of.get(str(os.getpid()), []))
    while todo:
        pid = todo.pop()
        total += sizes[pid]
        todo += of.get(pid, [])
    return total

most, ended = 0, threading.Event()
def watch():
    global most
    while not ended.wait(0.25):
        most = max(most, tree())
if os.path.isdir("/proc/self"):
    threading.Thread(target=watch, daemon=True).start()
start, done = time.monotonic(), subprocess.run(sys.argv[2:])
ended.set()
of = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu, wall = of.ru_utime + of.ru_stime, time.monotonic() - start
largest = of.ru_maxrss / 1024
print(f"{sys.argv[1]}: {cpu:.0f} s of CPU, {wall:.0f} s, {largest:.0f} MB at most in one process, "
      f"{max(most, largest):.0f} MB in all, exit {done.returncode}", flush=True)
sys.exit(done.returncode)
`
/** Refused by a gate: it ran to its end all the same. */
const REFUSED = 3

export interface RetrainBench {
  rows: number
  /** Interactions that are made one by one. */
  made: number
  /** The copies are made in the store, not in the archive. */
  store: boolean
  keep: boolean
}

export async function benchRetrain({ rows, made, store, keep }: RetrainBench): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'bench-archive-'))
  const [log, small, large] = ['log.jsonl', 'small', 'large'].map((name) => join(dir, name)) as [string, string, string]
  const config = join(dir, 'gateway.yaml')
  writeFileSync(
    config,
    `store: { kind: sqlite, path: ${dir}/store.db, retention_days: 36500 }
spool: { path: ${dir}/spool }
tenants: [{ name: acme, keys: [a-key-that-nobody-uses-here-0123456789] }]
`,
  )
  const artifact = join(ROOT, 'router-model/artifacts/current')
  const gateway = [process.execPath, join(ROOT, 'bin/persona-router.mjs'), '-c', config]
  const python = [PYTHON, '-m']
  const copies = Math.max(1, Math.round(rows / made))
  try {
    await told('make rows', [
      ...[...python, 'router_model.collect.made_log', log, '--interactions', String(made)],
      ...['--embedder', join(artifact, 'embedder'), '--artifact', artifact],
    ])
    await told('import', [...gateway, 'import', log])
    rmSync(log)
    const archive = (to: string, ...more: string[]) =>
      told('archive', [...gateway, 'archive', '--to', to, '--older-than', '1', ...more])
    if (store) {
      const fill = join(ROOT, 'test/bench/archive-fill.ts')
      await told(`copy ${copies} times in the store`, [process.execPath, fill, `${dir}/store.db`, String(copies - 1)])
      await archive(large)
    } else {
      await archive(small)
      await told(`copy ${copies} times`, [
        ...[...python, 'router_model.collect.made_archive', small, large, '--copies', String(copies)],
      ])
    }
    const retrain = ['router_model', 'retrain', '--from', large, '--artifact', artifact, '--out', join(dir, 'out')]
    await told('retrain', [...python, ...retrain, '--report', join(dir, 'report')], [0, REFUSED])
    await eraseSomebody(join(dir, 'store.db'))
    await archive(large, '--erase-only')
  } finally {
    if (keep) console.log(dir)
    else rmSync(dir, { recursive: true, force: true })
  }
}

/** As the store knows them; their rows are archived. */
async function eraseSomebody(path: string): Promise<void> {
  const store = new SqliteStore({ kind: 'sqlite', path, retention_days: 36_500 })
  await store.eraseUser('acme', 'user-0-1')
  await store.close()
}

function told(what: string, command: string[], expected = [0]): Promise<void> {
  const env = { ...process.env, PYTHONPATH: join(ROOT, 'router-model'), NODE_NO_WARNINGS: '1' }
  const child = spawn(PYTHON, ['-c', TOLD, what, ...command], { stdio: 'inherit', env })
  return new Promise((done, failed) => {
    child.on('error', failed)
    child.on('close', (code) => (expected.includes(code ?? 1) ? done() : failed(new Error(`${what} failed`))))
  })
}
