import type { Profile } from './profiler.ts'

/** A thread that other processes keep from its core gets no samples; one is not counted for all that time. */
const LONGEST_SAMPLE_US = 1_500

/**
 * Microseconds of the main thread by file of ours, library, or what Node and V8 do on their own.
 *
 * A sample belongs to the innermost frame with a file of ours or of a library.
 */
export function ownersOf({ nodes, samples, timeDeltas }: Profile): Map<string, number> {
  const parents = new Map<number, number>()
  for (const { id, children = [] } of nodes) for (const child of children) parents.set(child, id)
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const known = new Map<number, string>()

  function ownerOf(id: number): string {
    const found = known.get(id)
    if (found !== undefined) return found
    const { functionName, url } = byId.get(id)!.callFrame
    const own = functionName.startsWith('(') ? nativeState(functionName) : ownFile(url)
    const parent = parents.get(id)
    const owner = own ?? (parent === undefined ? 'event loop' : ownerOf(parent))
    // Node's own modules are told only where nobody of ours has called them.
    const told = owner === 'event loop' && url.startsWith('node:') ? url : owner
    known.set(id, told)
    return told
  }

  const owners = new Map<string, number>()
  for (const [i, id] of samples.entries()) {
    const us = timeDeltas[i + 1] ?? 0
    if (us <= 0 || us > LONGEST_SAMPLE_US) continue
    const owner = ownerOf(id)
    owners.set(owner, (owners.get(owner) ?? 0) + us)
  }
  return owners
}

function nativeState(name: string): string | null {
  if (name === '(idle)') return 'idle'
  if (name === '(garbage collector)') return 'garbage collection'
  return name === '(program)' ? 'V8 and Node, no JavaScript' : null
}

function ownFile(url: string): string | null {
  const library = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1]
  if (library) return library
  return /\/(src\/.+)$/.exec(url)?.[1] ?? null
}

/** Of the files and libraries, the first that fits. */
const GROUPS: readonly [group: string, files: RegExp][] = [
  ['idle', /^idle$/],
  ['garbage collection on this thread', /^garbage/],
  ['V8 and Node, no JavaScript', /^V8/],
  ['Redis client', /^ioredis|^@ioredis|^redis-|^denque|^standard-as|^lodash|^cluster-key|^src\/store\/redis/],
  ['SQLite', /^src\/store\/sqlite/],
  ['scoring', /^onnxruntime|routing\/model|runtime\/(micro-batch|onnxruntime)/],
  ['choosing', /^src\/routing|pipeline\/(decide|baseline)/],
  ['embedding', /^src\/embedding|runtime\/quantise/],
  ['asking the provider', /^undici|^src\/providers\/(?!relay|dialect)|runtime\/dispatcher/],
  ['dialects', /providers\/dialect/],
  ['relaying', /providers\/relay|openai\/(stream|sse|mend|convert)/],
  ['limits', /pipeline\/(quota|admission)|store\/limits|store\/owed/],
  ['sealing', /runtime\/(seal|sealed|random-pool)/],
  ['conversation', /pipeline\/conversation/],
  ['record, spool', /store\/record|pipeline\/(record|after)|store\/(shared|row)|well-formed/],
  ['learning, users', /^src\/learning/],
  ['log line', /^pino|^sonic-boom|thread-stream|quick-format|observability\/logger/],
  ['metrics', /^prom-client|tdigest|observability/],
  [
    'request read and checked',
    /^zod|^src\/openai|^src\/api|pipeline\/(call|entry|principal|auth|address|user)|candidates/,
  ],
  ['HTTP server', /^hono|^@hono|^src\/server|^node:_?(internal\/)?http|node:_http/],
  ['Node: sockets and streams', /^node:.*(net|stream)/],
  ['Node: timers, ticks, promises', /^node:/],
]

export const groupOf = (file: string) => GROUPS.find(([, files]) => files.test(file))?.[0] ?? `other: ${file}`
