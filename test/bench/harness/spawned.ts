import { type ChildProcess, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PROCESSES = fileURLToPath(new URL('../processes', import.meta.url))

/** The proxies get the first core, what drives and answers them the last: apart, where there are two. */
export const CORES = { proxy: 0, rest: Math.max(0, availableParallelism() - 1) }

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

export interface SpawnOptions {
  core: number | null
  env?: Record<string, string>
  cwd?: string
  /** Without it the program speaks over IPC. */
  quiet?: boolean
}

/** A process on a core of its own where `taskset` is at hand. */
export function spawnOn(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const { core, env = {}, cwd, quiet } = options
  const pinned = core !== null && process.platform === 'linux' ? ['taskset', '-c', `${core}`] : []
  const [program = '', ...rest] = [...pinned, command, ...args]
  const child = spawn(program, rest, {
    cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    // Log lines are read and thrown away, as a collector would take them.
    stdio: ['ignore', 'pipe', 'pipe', ...(quiet ? [] : ['ipc' as const])],
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  child.stdout?.resume()
  child.stderr?.resume()
  return child
}

/** A program of `processes/`. */
export function spawnNode(name: string, args: readonly string[], options: SpawnOptions & { node?: string[] }) {
  return spawnOn(process.execPath, [...(options.node ?? []), join(PROCESSES, name), ...args], options)
}

/** The port that a process of ours tells. */
export function portOf(child: ChildProcess): Promise<number> {
  return new Promise((done, fail) => {
    let stderr = ''
    child.stderr?.on('data', (text) => {
      stderr += text
    })
    child.once('message', (message) => done((message as { port: number }).port))
    child.once('exit', (code) => fail(new Error(`A process of the bench ended with ${code}: ${stderr.slice(-2_000)}`)))
  })
}

export async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((done) => child.once('exit', done))
  child.kill(signal)
  await gone
}
