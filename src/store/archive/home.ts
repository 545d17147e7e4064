import type { AsyncBuffer } from 'hyparquet'
import type { ProcessMark } from '../../runtime/process-mark.ts'

/** What an operator can mend about an archive, in words; or a file that does not hold what was written to it. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError'
}

/** Where an archive lies: a directory, or a bucket. Paths are relative to it, with slashes. */
export interface ArchiveHome {
  /** Where a file is, for a message. */
  shown(path: string): string
  /** Names of the folders in a folder, in order. None where there is no such folder. */
  folders(path: string): Promise<string[]>
  /** Names of the files in a folder, in order. None where there is no such folder. */
  files(path: string): Promise<string[]>
  /** @param isWhole most of it will be read */
  open(path: string, isWhole: boolean): Promise<AsyncBuffer>
  /** A small file; null where there is none. */
  read(path: string): Promise<string | null>
  /**
   * Writes a file whole or not at all, in the place of what has that name. It was read back when this resolves.
   * A bucket without versions can't give back what a file replaced that does not hold what was written to it.
   *
   * @param beforeNaming called before it has its name; where it throws, the file gets none
   */
  write(path: string, bytes: Uint8Array, beforeNaming: () => Promise<void>): Promise<void>
  /** Forgets a file for good. */
  remove(path: string): Promise<void>
  /** Forgets a folder for good, whatever is in it. */
  removeFolder(path: string): Promise<void>
  /**
   * Removes what writes and removals that were cut off have left: of a place that keeps versions, all but the present
   * ones.
   *
   * @param folders where such files may lie
   * @param isOurs whether we would have written a file of that path
   */
  tidy(folders: readonly string[], isOurs: (path: string) => boolean): Promise<void>
  /** @throws ArchiveError where another process has it */
  lock(name: string): Promise<ArchiveLock>
  close(): void
}

/** Held until it is released; a process that was silent for long may lose it. */
export interface ArchiveLock {
  isOurs(): Promise<boolean>
  release(): Promise<void>
}

/** Who has a lock. */
export interface Holder extends ProcessMark {
  /** Tells this holder from others of this process, and from those that took the lock later. */
  token: string
}

export const heldBy = (lock: string): ArchiveError =>
  new ArchiveError(`${lock}: another process is at work on this archive. If there is none, remove the file.`)

/** What a lock says; null where that is nothing. */
export function holderOf(text: string | null): Partial<Holder> | null {
  try {
    return JSON.parse(text ?? '') as Partial<Holder> | null
  } catch {
    return null
  }
}
