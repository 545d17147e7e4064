import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { type Case, endpointOf, type Seen } from './framing.ts'

const SCRIPT = fileURLToPath(new URL('../../e2e/python/framing.py', import.meta.url))

/** What the Python SDKs see of a cut stream. */
export class PythonFraming {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #reading: Interface
  readonly #lines: AsyncIterator<string>

  /** @param python an environment with OpenAI's SDK, and Anthropic's for its endpoint */
  constructor(python: string) {
    this.#child = spawn(python, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#reading = createInterface(this.#child.stdout)
    this.#lines = this.#reading[Symbol.asyncIterator]()
  }

  async ask(playing: Case, baseURL: string): Promise<Seen> {
    this.#child.stdin.write(`${baseURL} ${playing.usage ? 'yes' : 'no'} ${endpointOf(playing.stream)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('The Python process ended')
    return JSON.parse(value) as Seen
  }

  stop(): void {
    this.#child.stdin.end()
    this.#reading.close()
  }
}
