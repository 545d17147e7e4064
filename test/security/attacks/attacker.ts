import { setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { openRaw } from '../../support/raw-http.ts'

/** What a process of its own sends; it gets what processor time nobody else wants. */
export type Job =
  /** Bodies whose last byte never comes, each over a connection of its own. */
  | { kind: 'withheld'; url: string; key: string; connections: number; bytes: number; seconds: number }
  /** So many requests a second; "#" in `path`, `key`, `body` and `once` counts up, "@" in `body` is so long a text. */
  | {
      kind: 'flood'
      url: string
      key: string
      path: string
      method?: string
      body?: string
      fill?: number
      /** Idempotency-Key. */
      once?: string
      perSecond: number
      seconds: number
    }
  /** Each reads its answer to the end, at once. */
  | { kind: 'calls'; url: string; key: string; path: string; method: string; times: number }

/** How many answers of each status came, and how many bytes of them. */
export interface Done {
  statuses: Record<string, number>
  bytes: number
}

const TICK_MS = 20

async function run(job: Job): Promise<Done> {
  const done: Done = { statuses: {}, bytes: 0 }
  const count = (status: number | string) => {
    done.statuses[status] = (done.statuses[status] ?? 0) + 1
  }
  const ask = async (path: string, options: RequestInit = {}, more: Record<string, string> = {}) => {
    const headers = { authorization: `Bearer ${job.key}`, 'content-type': 'application/json', ...more }
    try {
      const answer = await fetch(job.url + path, { headers, ...options })
      for await (const piece of answer.body ?? []) done.bytes += piece.length
      count(answer.status)
    } catch {
      count('broken')
    }
  }
  if (job.kind === 'withheld') {
    const connections = await Promise.all(Array.from({ length: job.connections }, () => openRaw(job.url)))
    const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ${job.key}\r\ncontent-length: ${job.bytes + 1}\r\n\r\n`
    for (const connection of connections)
      connection.send(Buffer.concat([Buffer.from(head), Buffer.alloc(job.bytes, ' ')]))
    await sleep(job.seconds * 1e3)
    for (const { received } of connections) count(/^HTTP\/1\.1 (\d+)/.exec(received)?.[1] ?? 'held')
    for (const connection of connections) connection.destroy()
  } else if (job.kind === 'flood') {
    const asked: Promise<void>[] = []
    const body = job.body?.replace('@', 'word '.repeat((job.fill ?? 0) / 5))
    const from = performance.now()
    for (let sent = 0; performance.now() - from < job.seconds * 1e3; await sleep(TICK_MS)) {
      const due = ((performance.now() - from) / 1e3) * job.perSecond
      for (; sent < due; sent++) {
        const once = job.once === undefined ? {} : { 'idempotency-key': job.once.replace('#', `${sent}`) }
        const bytes = body?.replaceAll('#', `${sent}`)
        const method = job.method ?? (bytes === undefined ? 'GET' : 'POST')
        const key = { authorization: `Bearer ${job.key.replace('#', `${sent}`)}` }
        const options = bytes === undefined ? { method } : { method, body: bytes }
        asked.push(ask(job.path.replace('#', `${sent}`), options, { ...once, ...key }))
      }
    }
    await Promise.all(asked)
  } else {
    await Promise.all(Array.from({ length: job.times }, () => ask(job.path, { method: job.method })))
  }
  return done
}

if (process.argv[1] === import.meta.filename) {
  setPriority(19)
  console.log(JSON.stringify(await run(JSON.parse(process.argv[2] as string))))
  process.exit(0)
}
