import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { type Case, endpointOf, type Seen, type Where } from './framing.ts'

const SCRIPT = fileURLToPath(new URL('../../e2e/python/framing.py', import.meta.url))

/** What the Python SDKs see of a cut stream. */
export class PythonFraming {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #reading: Interface
  readonly #asked = new Map<string, PromiseWithResolvers<Seen>>()

  /** @param python an environment with OpenAI's SDK, and Anthropic's for its endpoint */
  constructor(python: string) {
    this.#child = spawn(python, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#reading = createInterface(this.#child.stdout)
    this.#reading.on('line', (line) => {
      const { question, seen } = JSON.parse(line) as { question: string; seen: Seen }
      this.#asked.get(question)?.resolve(seen)
      this.#asked.delete(question)
    })
    this.#child.once('exit', () => {
      for (const { reject } of this.#asked.values()) reject(new Error('The Python process ended'))
    })
  }

  /** Some at once (`AT_ONCE` in the script). */
  ask(playing: Case, { baseURL, question }: Where): Promise<Seen> {
    const seen = Promise.withResolvers<Seen>()
    this.#asked.set(question, seen)
    this.#child.stdin.write(`${baseURL} ${playing.usage ? 'yes' : 'no'} ${endpointOf(playing.stream)} ${question}\n`)
    return seen.promise
  }

  stop(): void {
    this.#child.stdin.end()
    this.#reading.close()
  }
}
