import { readdirSync, readFileSync } from 'node:fs'

/**
 * What a process has used so far, read from outside it (Linux's /proc): it holds however busy the machine is otherwise.
 */
export interface ProcessCost {
  /** Microseconds of CPU, of all threads. */
  cpuUs: number
  /** Resident bytes. */
  rss: number
}

/** @param pids of one program: a cluster is a primary and its workers */
export function processCost(pids: readonly number[]): ProcessCost {
  const costs = pids.map(costOf)
  return {
    cpuUs: costs.reduce((sum, { cpuUs }) => sum + cpuUs, 0),
    rss: costs.reduce((sum, { rss }) => sum + rss, 0),
  }
}

function costOf(pid: number): ProcessCost {
  const threads = readdirSync(`/proc/${pid}/task`)
  // Nanoseconds on the CPU; /proc/<pid>/stat counts in steps of 10 ms.
  const onCpu = threads.map((tid) => onCpuNs(pid, tid))
  const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return { cpuUs: onCpu.reduce((sum, ns) => sum + ns, 0) / 1e3, rss: Number(rss ?? 0) * 1024 }
}

const onCpuNs = (pid: number, tid: number | string) =>
  Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').split(' ')[0])

/** Microseconds of CPU of a process's first thread. */
export const mainThreadUs = (pid: number) => onCpuNs(pid, pid) / 1e3

/** Microseconds of CPU by the names of a process's threads; threads of one name together. */
export function threadCosts(pid: number): Map<string, number> {
  const costs = new Map<string, number>()
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const name = Number(tid) === pid ? 'main' : readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim()
    costs.set(name, (costs.get(name) ?? 0) + onCpuNs(pid, tid) / 1e3)
  }
  return costs
}

export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}
