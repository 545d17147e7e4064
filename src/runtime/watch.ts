import { type FSWatcher, statSync, watch } from 'node:fs'
import { basename, dirname } from 'node:path'

/** Editors write a file more than once, and some files come as one of many: wait until nothing changes for a while. */
const SETTLE_MS = 300
/** Network file systems and bind mounts change without an event. */
const POLL_MS = 5_000

/**
 * Calls `onChange` when one of the files becomes another one, be it written, replaced, or reached through a link that
 * now leads elsewhere, in its directory (as Kubernetes swaps mounted ConfigMaps) or its directory itself (as artifacts
 * are swapped). A file that is gone counts as a change, too.
 *
 * @param files called at each look: a change may bring others
 * @param pollMs how often it looks without an event
 * @returns a function that stops it
 */
export function watchFiles(files: () => readonly string[], onChange: () => void, pollMs = POLL_MS): () => void {
  const watchers = new Map<string, { inode: string; watcher: FSWatcher }>()
  let seen = fingerprints(files())
  let timer: NodeJS.Timeout | undefined

  const look = () => {
    follow()
    const now = fingerprints(files())
    if (now === seen) return
    seen = now
    onChange()
  }
  const soon = () => {
    clearTimeout(timer)
    timer = setTimeout(look, SETTLE_MS).unref()
  }

  function follow(): void {
    for (const file of files()) {
      const directory = dirname(file)
      watchDirectory(directory, soon)
      // Other entries beside the directory are ignored.
      watchDirectory(dirname(directory), (_, name) => name === basename(directory) && soon())
    }
  }

  /** Watches a directory; anew when the path leads to another one. */
  function watchDirectory(path: string, onEvent: (event: string, name: string | null) => void): void {
    const known = watchers.get(path)
    const inode = inodeOf(path)
    if (known?.inode === inode) return
    known?.watcher.close()
    watchers.delete(path)
    try {
      const watcher = watch(path, { persistent: false }, onEvent)
      watcher.on('error', () => watchers.delete(path) && watcher.close())
      watchers.set(path, { inode, watcher })
    } catch {
      // Missing or not watchable: the poll sees changes.
    }
  }

  follow()
  const poll = setInterval(look, pollMs).unref()
  return () => {
    clearTimeout(timer)
    clearInterval(poll)
    for (const { watcher } of watchers.values()) watcher.close()
  }
}

const inodeOf = (path: string): string => {
  const { dev, ino } = statSync(path, { throwIfNoEntry: false }) ?? {}
  return `${dev}:${ino}`
}

const fingerprints = (files: readonly string[]): string => files.map(fingerprint).join(' ')

function fingerprint(file: string): string {
  const { dev, ino, size, mtimeMs } = statSync(file, { throwIfNoEntry: false }) ?? {}
  return `${dev}:${ino}:${size}:${mtimeMs}`
}
