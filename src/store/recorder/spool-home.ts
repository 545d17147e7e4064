import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { makeFolder } from '../../runtime/make-folder.ts'
import { isThisProcess, lifeOf, markOfThisProcess, type ProcessMark } from '../../runtime/process-mark.ts'

const OWNER = 'owner.json'
const HEARTBEAT_MS = 5_000
/** An owner that we cannot look for (on another host) is given up after this silence. */
const SILENCE_MS = 60_000

/** Homes of this process: several recorders may share a directory. */
const ours = new Set<string>()

/**
 * A process's own folder in the spool directory. Those of dead processes are taken over, each by one heir: by renaming,
 * which only one can do. A directory may be shared by processes of one host, and by hosts whose clocks agree to some
 * seconds.
 */
export class SpoolHome {
  readonly path: string
  readonly #root: string
  readonly #heartbeat: NodeJS.Timeout
  #adopted = 0

  constructor(root: string) {
    this.#root = root
    this.path = join(root, `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`)
    ours.add(this.path)
    makeFolder(this.path, 0o700)
    writeFileSync(join(this.path, OWNER), JSON.stringify(markOfThisProcess()), { mode: 0o600 })
    this.#heartbeat = setInterval(() => touch(join(this.path, OWNER)), HEARTBEAT_MS).unref()
  }

  /**
   * Moves the segments of dead processes into our folder, but for those that had been delivered `keepMs` before the
   * process was last heard of: they go. Returns where they are now, oldest first.
   */
  adopt(keepMs: number): string[] {
    const adopted: string[] = []
    for (const entry of readdirSync(this.#root, { withFileTypes: true })) {
      const orphan = join(this.#root, entry.name)
      if (!entry.isDirectory() || ours.has(orphan) || isAlive(orphan)) continue
      const claimed = join(this.path, entry.name)
      try {
        renameSync(orphan, claimed)
      } catch {
        continue // Somebody else was quicker.
      }
      adopted.push(...this.#flatten(claimed, keepMs))
    }
    return adopted
  }

  /** Heirs of heirs would nest ever deeper. */
  #flatten(folder: string, keepMs: number): string[] {
    const lastHeard = Math.max(...filesIn(folder).map((file) => Math.max(statSync(file).mtimeMs, doneAt(file) ?? 0)))
    const isOld = (file: string) => (doneAt(file) ?? lastHeard) < lastHeard - keepMs
    const files = [...segmentsIn(folder), ...rejectedIn(folder)].filter((file) => !isOld(file)).sort(byAge)
    const moved = files.map((file) => {
      const target = join(this.path, `from-${String(++this.#adopted).padStart(4, '0')}-${basename(file)}`)
      renameSync(file, target)
      return target
    })
    rmSync(folder, { recursive: true, force: true })
    return moved.filter(isSegment)
  }

  /** Removes the folder unless something still waits in it. */
  close(): void {
    clearInterval(this.#heartbeat)
    const left = [...segmentsIn(this.path), ...rejectedIn(this.path)]
    if (left.length === 0) rmSync(this.path, { recursive: true, force: true })
    ours.delete(this.path)
  }
}

const DONE = /\.done-(\d+)\.ndjson$/

/** The name of a segment all of which was delivered now. */
export const doneName = (segment: string) => segment.replace(/\.ndjson$/, `.done-${Date.now()}.ndjson`)

export const isDone = (segment: string) => DONE.test(segment)

/** Unix milliseconds; null: not all of it was. */
function doneAt(segment: string): number | null {
  const ms = DONE.exec(segment)?.[1]
  return ms === undefined ? null : Number(ms)
}

const isSegment = (file: string) => /\d+\.ndjson$/.test(file)

const segmentsIn = (folder: string) => filesIn(folder).filter(isSegment)

const rejectedIn = (folder: string) => filesIn(folder).filter((file) => file.endsWith('rejected.ndjson'))

/** However deep: a process may have died while it took over another's. */
const filesIn = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name))

const byAge = (a: string, b: string) => statSync(a).mtimeMs - statSync(b).mtimeMs || (a < b ? -1 : 1)

function isAlive(home: string): boolean {
  try {
    const file = join(home, OWNER)
    const owner = JSON.parse(readFileSync(file, 'utf8')) as Partial<ProcessMark> | null
    // One of ours that is closed: it was passed by otherwise.
    if (isThisProcess(owner)) return false
    const life = lifeOf(owner)
    return life === 'unknown' ? Date.now() - statSync(file).mtimeMs < SILENCE_MS : life === 'alive'
  } catch {
    // A folder without an owner, or whose owner is not all written, was just made, or is a remnant.
    return isFresh(home)
  }
}

function isFresh(home: string): boolean {
  return Date.now() - (timeOf(join(home, OWNER)) ?? timeOf(home) ?? 0) < SILENCE_MS
}

/** Null where there is nothing, or it can't be seen. */
function timeOf(path: string): number | null {
  try {
    return statSync(path).mtimeMs
  } catch {
    return null
  }
}

function touch(file: string): void {
  const now = new Date()
  try {
    utimesSync(file, now, now)
  } catch {
    // A full or removed disk shows when a record is written.
  }
}
