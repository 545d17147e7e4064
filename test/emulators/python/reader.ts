import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { cache, inVenv } from '../../../scripts/lib/paths.mjs'

export interface AskedInPython {
  api: 'chat' | 'responses' | 'messages' | 'completions'
  body: Record<string, unknown>
  headers: Record<string, string>
}

export type ReadInPython = { end: string | null } | { error: string; own: boolean; status: number | null }

const PINS = fileURLToPath(new URL('requirements.txt', import.meta.url))
const SCRIPT = fileURLToPath(new URL('reader.py', import.meta.url))

/** The official SDKs in an environment of their own. @throws Error where they can't be installed */
export function pythonWithSdks(): string {
  const home = join(cache, 'python-sdks')
  const [program, mark] = [join(home, 'bin', 'python'), join(home, '.installed')]
  const pins = readFileSync(PINS, 'utf8')
  if (existsSync(mark) && readFileSync(mark, 'utf8') === pins) return program
  mkdirSync(home, { recursive: true })
  const steps: [string, string[]][] = [
    [inVenv('python'), ['-m', 'venv', home]],
    [program, ['-m', 'pip', 'install', '--disable-pip-version-check', '--quiet', '-r', PINS]],
  ]
  for (const [command, args] of steps) {
    const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`The Python SDKs could not be installed: ${error?.message ?? stderr}`)
  }
  writeFileSync(mark, pins)
  return program
}

/** A Python process that asks with the official SDKs, one request at a time. */
export class PythonReader {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #reading: Interface

  constructor(baseURL: string, key: string) {
    this.#child = spawn(pythonWithSdks(), [SCRIPT], {
      env: { ...process.env, BASE_URL: baseURL, KEY: key },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#reading = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })
    this.#lines = this.#reading[Symbol.asyncIterator]()
  }

  async ask(asked: AskedInPython): Promise<ReadInPython> {
    this.#child.stdin?.write(`${JSON.stringify(asked)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('The Python process ended')
    return JSON.parse(value) as ReadInPython
  }

  stop(): void {
    this.#child.stdin?.end()
    this.#reading.close()
  }
}
