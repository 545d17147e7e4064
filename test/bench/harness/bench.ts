import type { ChildProcess } from 'node:child_process'
import { NUMBER, type Order, type Report } from './orders.ts'
import { childrenOf, processCost } from './process-cost.ts'
import { CORES, end, portOf, spawnNode } from './spawned.ts'
import type { Subject } from './subjects.ts'

/** One round of one subject. */
export interface Round extends Report {
  /** Microseconds of the proxy's CPU, of all its threads, for one request. */
  cpuUs: number
}

export type Asked = Partial<Pick<Order, 'inFlight' | 'seconds' | 'users' | 'firstUser' | 'hold' | 'perSecond'>> & {
  /** Bytes of the question. */
  bytes?: number
  /** Events of a streamed answer; a plain answer where left out. */
  chunks?: number
  /** The stream stays open. */
  idle?: boolean
  /** Everybody asks the same. */
  same?: boolean
}

/** The upstream and the load generator, in processes of their own, and what is measured with them. */
export class Bench {
  readonly upstreamPort: number
  readonly #upstream: ChildProcess
  readonly #load: ChildProcess

  static async open(): Promise<Bench> {
    const upstream = spawnNode('upstream.ts', [], { core: CORES.rest })
    const load = spawnNode('load.ts', [], { core: CORES.rest })
    return new Bench(upstream, load, await portOf(upstream))
  }

  private constructor(upstream: ChildProcess, load: ChildProcess, port: number) {
    this.#upstream = upstream
    this.#load = load
    this.upstreamPort = port
  }

  /** The upstream itself, as if it were a proxy: what latency there is without one. */
  get direct(): Subject {
    return {
      name: 'no proxy',
      port: this.upstreamPort,
      child: this.#upstream,
      headers: { 'content-type': 'application/json' },
      model: 'llm-0',
      readyMs: 0,
      stop: async () => {},
    }
  }

  /** @throws Error when requests fail */
  async round(subject: Subject, asked: Asked): Promise<Round> {
    const pid = subject.child.pid ?? 0
    const pids = [pid, ...childrenOf(pid)]
    subject.prepare?.()
    // The others have had the caches meanwhile.
    if (!asked.hold && asked.seconds && asked.seconds >= 0.5) await this.#drive(subject, { ...asked, seconds: 0.2 })
    const before = processCost(pids)
    const report = await this.#drive(subject, asked)
    const after = processCost(pids)
    if (report.errors > 0) throw new Error(`${subject.name}: ${report.errors} of its requests failed.`)
    return { ...report, cpuUs: (after.cpuUs - before.cpuUs) / report.requests }
  }

  /** The same for each subject in turn, again and again, so that what else the machine does falls on all of them. */
  async rounds(subjects: readonly Subject[], asked: Asked, count: number): Promise<Map<Subject, Round[]>> {
    const all = new Map<Subject, Round[]>(subjects.map((subject) => [subject, []]))
    for (let i = 0; i < count; i++) {
      // Who came first comes last in the next round: what one leaves running falls on another each time.
      for (let k = 0; k < subjects.length; k++) {
        const subject = subjects[(k + i) % subjects.length]!
        all.get(subject)!.push(await this.round(subject, asked))
      }
    }
    return all
  }

  /** So many requests a second, whatever becomes of them. */
  offer(subject: Subject, asked: Asked & { perSecond: number }): Promise<Report> {
    return this.#drive(subject, asked)
  }

  async close(): Promise<void> {
    await end(this.#load)
    await end(this.#upstream)
  }

  #drive({ port, headers, model }: Subject, asked: Asked): Promise<Report> {
    const { inFlight = 32, seconds = 1, users = 512, firstUser = 0, hold, perSecond } = asked
    const order: Order = {
      ...{ port, headers, body: bodyOf(model, asked), inFlight, seconds, users, firstUser },
      ...(hold && { hold }),
      ...(perSecond && { perSecond }),
    }
    return new Promise((done, fail) => {
      this.#load.once('message', (message: Report | { error: string }) => {
        if ('error' in message) fail(new Error(message.error))
        else done(message)
      })
      this.#load.send(order)
    })
  }
}

const QUESTION = `Question ${NUMBER}: `
const WORDS = 'Please explain in simple words how a bill becomes law and who may stop it on the way there. '

/** A chat completion request of about so many bytes. */
export function bodyOf(model: string, { bytes = 200, chunks, idle, same }: Asked): string {
  const question = same ? QUESTION.replace(NUMBER, '1') : QUESTION
  const body = (content: string) =>
    JSON.stringify({
      model,
      messages: [{ role: 'user', content }],
      temperature: 0.7,
      ...(chunks !== undefined && { stream: true, bench_chunks: chunks }),
      ...(idle && { bench_idle: true }),
    })
  const left = Math.max(1, bytes - body(question).length)
  return body(question + WORDS.repeat(Math.ceil(left / WORDS.length)).slice(0, left))
}
