import { type FSWatcher, statSync, watch } from 'node:fs'
import { dirname } from 'node:path'

/** Editors write a file more than once. */
const SETTLE_MS = 200
/** Network file systems and bind mounts change without an event. */
const POLL_MS = 5_000

/**
 * Calls `onChange` when one of the files becomes another one, be it written, replaced, or reached through a link that
 * now leads elsewhere (as Kubernetes swaps mounted ConfigMaps).
 *
 * @param files asked again and again: a reload may include others
 * @returns the way to stop
 */
export function watchConfig(files: () => readonly string[], onChange: () => void): () => void {
  const watchers = new Map<string, FSWatcher>()
  let seen = fingerprint(files())
  let timer: NodeJS.Timeout | undefined

  const look = () => {
    follow()
    const now = fingerprint(files())
    if (now === seen) return
    seen = now
    onChange()
  }
  const soon = () => {
    clearTimeout(timer)
    timer = setTimeout(look, SETTLE_MS).unref()
  }
  function follow(): void {
    for (const directory of new Set(files().map((file) => dirname(file)))) {
      if (watchers.has(directory)) continue
      try {
        const watcher = watch(directory, { persistent: false }, soon)
        watcher.on('error', () => watchers.delete(directory) && watcher.close())
        watchers.set(directory, watcher)
      } catch {
        // Not there, or nothing that can be watched: the poll sees it.
      }
    }
  }

  follow()
  const poll = setInterval(look, POLL_MS).unref()
  return () => {
    clearTimeout(timer)
    clearInterval(poll)
    for (const watcher of watchers.values()) watcher.close()
  }
}

function fingerprint(files: readonly string[]): string {
  return files
    .map((file) => {
      const { dev, ino, size, mtimeMs } = statSync(file, { throwIfNoEntry: false }) ?? {}
      return `${dev}:${ino}:${size}:${mtimeMs}`
    })
    .join(' ')
}
