import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Logger } from '../../observability/logger.ts'

/** Files of an artifact are written one after the other: wait until nothing has changed for a while. */
const SETTLE_MS = 300
/** Links that are swapped on network file systems, and files in bind mounts, change without an event. */
const POLL_MS = 5_000

/**
 * Calls `onChange` when the manifest of a directory, or of what a link leads to, becomes another one.
 *
 * @returns the way to stop
 */
export function watchArtifact(directory: string, log: Logger, onChange: () => Promise<void>): () => void {
  const path = resolve(directory)
  const watchers: FSWatcher[] = []
  let seen: string | null = null
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const look = async () => {
    const now = await fingerprint(path)
    if (stopped || now === seen) return
    seen = now
    // A directory that is just being replaced is no news.
    if (now !== null) await onChange()
  }
  const soon = () => {
    clearTimeout(timer)
    timer = setTimeout(() => void look(), SETTLE_MS).unref()
  }
  const follow = (what: string, wanted: (file: string | null) => boolean) => {
    try {
      const watcher = watch(what, { persistent: false }, (_, file) => wanted(file) && soon())
      watcher.on('error', () => watcher.close())
      watchers.push(watcher)
    } catch (error) {
      log.debug({ err: error }, 'can’t watch for artifacts: looking every few seconds')
    }
  }

  void fingerprint(path).then((now) => {
    seen = now
    if (stopped) return
    follow(path, (file) => file === 'manifest.json')
    follow(dirname(path), (file) => file === basename(path))
  })
  const poll = setInterval(() => void look(), POLL_MS).unref()
  return () => {
    stopped = true
    clearTimeout(timer)
    clearInterval(poll)
    for (const watcher of watchers) watcher.close()
  }
}

async function fingerprint(directory: string): Promise<string | null> {
  try {
    const { ino, size, mtimeMs, dev } = await stat(join(directory, 'manifest.json'))
    return `${dev}:${ino}:${size}:${mtimeMs}`
  } catch {
    return null
  }
}
