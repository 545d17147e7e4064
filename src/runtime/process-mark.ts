import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** Tells a process from all others, also later ones that are given its id, as far as the system lets it. */
export interface ProcessMark {
  host: string
  pid: number
  /** Linux: whose ids they are. Containers may share a host's name, and each has a process 1. */
  namespace?: string
  /** Linux: ticks from the start of the machine to that of the process. */
  startedAt: string
}

export function markOfThisProcess(): ProcessMark {
  const namespace = namespaceOfIds()
  const { pid } = process
  return {
    host: hostname(),
    pid,
    ...(namespace === null ? {} : { namespace }),
    startedAt: statusOf(pid)?.startedAt ?? '',
  }
}

/**
 * What is known of the process that left a mark. Earlier versions left less in theirs. `unknown`: it can't be looked
 * for from here, being on another host or in another container.
 */
export function lifeOf(mark: Partial<ProcessMark> | null): 'alive' | 'gone' | 'unknown' {
  if (!mark || !isId(mark.pid) || mark.host !== hostname()) return 'unknown'
  if (mark.namespace !== undefined && mark.namespace !== namespaceOfIds()) return 'unknown'
  const status = statusOf(mark.pid)
  if (status === null) return isKnown(mark.pid) ? 'alive' : 'gone'
  // Killed, but nobody has waited for it: in a container without an init it stays so until the container ends.
  if (status.hasEnded) return 'gone'
  return !mark.startedAt || mark.startedAt === status.startedAt ? 'alive' : 'gone'
}

export const isThisProcess = (mark: Partial<ProcessMark> | null): boolean =>
  mark?.pid === process.pid && lifeOf(mark) === 'alive'

/** A mark may be of a file that was damaged; 0 and less would be groups of processes. */
const isId = (pid: unknown): pid is number => Number.isInteger(pid) && (pid as number) > 0

/** Whether the system knows of a process of that id: also one that is no more than an entry in its table. */
function isKnown(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it lives, as another user.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Null where the system doesn't tell: it isn't Linux, there is no such process, or another user's is hidden. */
function statusOf(pid: number): { hasEnded: boolean; startedAt: string } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // proc_pid_stat(5): the name, in brackets, may hold brackets and blanks. Then 3, state; ... 22, starttime.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { hasEnded: /^[ZXx]$/.test(fields[0] ?? ''), startedAt: fields[19] ?? '' }
  } catch {
    return null
  }
}

function namespaceOfIds(): string | null {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return null
  }
}
