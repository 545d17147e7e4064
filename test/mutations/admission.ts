import type { Mutation } from './lane.ts'

const HELD = 'src/pipeline/held-bytes.ts'
const KNOWN = 'src/pipeline/known-refusals.ts'
const IDS = 'src/pipeline/request-ids.ts'
const PENDING = 'src/api/pending-feedback.ts'
const BODY = 'src/api/body.ts'
const FEEDBACK = 'src/api/feedback.ts'
const HELD_TEST = 'test/pipeline/held-bytes.test.ts'
const KNOWN_TEST = 'test/pipeline/known-refusals.test.ts'
const IDS_TEST = 'test/pipeline/request-ids.test.ts'
const PENDING_TEST = 'test/api/pending-feedback.test.ts'
const BOUNDS_TEST = 'test/store/redis/bounds.test.ts'
const FEEDBACK_TEST = 'test/security/feedback.test.ts'

/** What a tenant may take, before its body is read and while it is held; whose answer feedback is on. */
export const ADMISSION: readonly Mutation[] = [
  {
    file: HELD,
    find: 'if (held.arriving.size > 0 && held.bytes > most.bytes) most = held',
    replace: 'if (held.arriving.size > 0) most = held',
    tests: [HELD_TEST],
    rule: 'only whoever holds more than the one who asks gives up a body',
  },
  {
    file: HELD,
    find: 'this.#all.add(this.#tenant, -this.bytes)',
    replace: 'this.#all.add(this.#tenant, 0)',
    tests: [HELD_TEST],
    rule: 'what a request held is free when it has ended',
  },
  {
    file: BODY,
    find: 'return isHeld ? held.refuses(declared) : null',
    replace: 'return null',
    tests: ['test/api/body.test.ts'],
    rule: 'a body that is declared too large for its tenant is not read',
  },
  {
    file: KNOWN,
    find: "if (!refusedBy || refusedBy.window === 'flight') return",
    replace: 'if (!refusedBy) return',
    tests: [KNOWN_TEST],
    rule: 'a limit of requests in work is not believed to be used up: one may end',
  },
  {
    file: KNOWN,
    find: 'known.askAt = now + ASK_EVERY_MS',
    replace: 'known.askAt = now',
    tests: [KNOWN_TEST],
    rule: 'one request a second asks the store again, not all',
  },
  {
    file: IDS,
    find: "return hash('sha256', `${this.#key}${head}${tenant}`)",
    replace: "return hash('sha256', `${this.#key}${head}`)",
    tests: [IDS_TEST],
    rule: 'a request id is its tenant’s',
  },
  {
    file: PENDING,
    find: 'waiting >= MOST.perTenant',
    replace: 'false',
    tests: [PENDING_TEST],
    rule: 'feedback that waits is bounded by tenant',
  },
  {
    file: PENDING,
    find: 'if (!(error instanceof StoreError)) return false',
    replace: 'return false',
    tests: [PENDING_TEST],
    rule: 'feedback waits for a store that is away',
  },
  {
    file: FEEDBACK,
    find: 'if (meant.length > 1) throw ambiguous()',
    replace: '',
    tests: [FEEDBACK_TEST],
    rule: 'of several answers with one id none is guessed at',
  },
  {
    file: FEEDBACK,
    find: 'return (whose === null || whose.has(one.user)) && !(guessable',
    replace: 'return !(guessable',
    tests: [FEEDBACK_TEST],
    rule: 'a provider’s id names answers of the user who gives it alone',
  },
  {
    file: 'src/store/redis/commands/erase-conversations.lua',
    find: "local ids = redis.call('ZRANGE', KEYS[1], passed, passed + tonumber(ARGV[1]) - 1)",
    replace: "local ids = redis.call('ZRANGE', KEYS[1], passed, -1)",
    tests: [BOUNDS_TEST],
    rule: 'an erasure goes in slices',
  },
  {
    file: 'src/store/redis/commands/erase-log.lua',
    find: "local members = redis.call('ZRANGE', KEYS[1], passed, passed + tonumber(ARGV[1]) - 1)",
    replace: "local members = redis.call('ZRANGE', KEYS[1], passed, passed + 2 * tonumber(ARGV[1]) - 1)",
    tests: [BOUNDS_TEST],
    rule: 'a script takes no more commands than it says',
  },
  {
    file: 'src/server/pace.ts',
    find: 'if (this.#left > 0) return',
    replace: 'return',
    tests: ['test/server/pace.test.ts'],
    rule: 'bodies that arrive take so many bytes of a turn of the event loop',
  },
  {
    file: 'src/openai/parse-thread.ts',
    find: 'this.#waiting.delete(tenant)\n',
    replace: '\n',
    tests: ['test/openai/parse-thread.test.ts'],
    rule: 'large bodies of all tenants are parsed in turn',
  },
  {
    file: 'src/providers/dialect/tool-ids.ts',
    find: 'let turn = this.#tries.get(id) ?? 0',
    replace: 'let turn = 0',
    tests: ['test/providers/dialect/tool-ids.test.ts'],
    rule: 'an id that many calls share is not tried again from the start for each',
  },
  {
    file: 'src/pipeline/quota/estimate.ts',
    find: 'const MOST_ANSWERS = 2 ** 20',
    replace: 'const MOST_ANSWERS = 128',
    tests: ['test/security/own-size.test.ts::answers'],
    rule: 'answers are reserved beyond those that most providers give',
  },
  {
    file: 'src/store/redis/responses.ts',
    find: 'const maxBytes = await this.#mostFor(bytes.length, options.maxBytes)',
    replace: 'const { maxBytes } = options',
    tests: ['test/security/store-away.test.ts::kept responses'],
    rule: 'the kept responses of one tenant leave Redis room for all else',
  },
  {
    file: 'src/store/sqlite/file.ts',
    find: '    if (this.#isHeld) return\n    const writes',
    replace: '    const writes',
    tests: ['test/store/sqlite/transactions.test.ts::writes wait'],
    rule: 'no commit waits inside SQLite for the thread that writes the log back',
  },
  {
    file: 'src/store/sqlite/wal-worker.ts',
    find: '  writeHead()\n  return true',
    replace: '  return true',
    tests: ['test/store/sqlite/wal.test.ts'],
    rule: 'the head of a new log is written, and waited for, by the thread',
  },
  {
    file: 'src/runtime/each.ts',
    find: 'failures.push(error)',
    replace: 'throw error',
    tests: ['test/learning/user-retention.test.ts'],
    rule: 'a tenant whose part of the store is away is in the way of no other',
  },
  {
    file: 'src/runtime/per-minute.ts',
    find: 'return ++count.count <= this.#most',
    replace: 'return true',
    tests: ['test/runtime/per-minute.test.ts'],
    rule: 'a client’s flag keeps so many traces at most',
  },
  {
    file: 'src/learning/sources/sample.ts',
    find: 'tenants() > 1 ? MOST_OF_ONE : 1',
    replace: '1',
    tests: ['test/learning/sources/ghost.test.ts'],
    rule: 'one tenant does not use up what the gateway asks on its own account',
  },
  {
    file: 'src/learning/sources/ghost.ts',
    find: 'usd: rival.costUsd',
    replace: 'usd: 0',
    tests: ['test/learning/sources/ghost.test.ts'],
    rule: 'a question that is dear for the rival alone is not asked again',
  },
  {
    file: 'src/runtime/cohort.ts',
    find: 'if (inCompany()) atEndOfTick(goOn)',
    replace: 'if (false) atEndOfTick(goOn)',
    tests: ['test/runtime/cohort.test.ts'],
    rule: 'requests in company take their steps side by side',
  },
  {
    file: 'src/runtime/engine.ts',
    find: '--retain-maps-for-n-gc=1000',
    replace: '--retain-maps-for-n-gc=2',
    tests: ['test/runtime/engine.test.ts'],
    rule: 'optimised code outlives full collections while no request is in work',
  },
  {
    file: 'src/pipeline/context.ts',
    find: 'if (this.isDraining) outgoing.shouldKeepAlive = false',
    replace: '',
    tests: ['test/pipeline/context.test.ts'],
    rule: 'whoever begins after the end was announced is told that their connection ends',
  },
]
