import type { Mutation } from './lane.ts'

const PRINCIPAL = 'src/pipeline/principal.ts'
const ATTEMPTS = 'src/providers/forward/attempts.ts'
const KEPT = 'src/api/responses/kept.ts'
const MOVE = 'src/store/redis/move-user.ts'
const MOVE_LUA = 'src/store/redis/commands/move-user.lua'
const REFUSALS_TEST = 'test/faults/upstream-refusals.test.ts'
const BOUND_TEST = 'test/security/unbounded-answers.test.ts'
const TRUNCATION_TEST = 'test/api/responses/truncation.test.ts'
const BYTES_TEST = 'test/security/admission.test.ts'
const REDIS_TEST = 'test/store/redis/store.test.ts'
const SQLITE_TEST = 'test/store/sqlite/store.test.ts'

/** Between the gateway and a provider, and what goes along when a user's id changes. */
export const WIRE: readonly Mutation[] = [
  {
    file: PRINCIPAL,
    find: 'vouched ? `${tenant.name} user ${user}` : tenant.name',
    replace: 'vouched && user === tenant.name ? user : tenant.name',
    tests: [`${REFUSALS_TEST}::users whom somebody vouches for`],
    rule: 'whose failures a breaker counts: each user whom somebody vouches for',
  },
  {
    file: PRINCIPAL,
    find: 'vouched ? `${tenant.name} user ${user}` : tenant.name',
    replace: 'vouched || user ? `${tenant.name} user ${user}` : tenant.name',
    tests: [`${REFUSALS_TEST}::failures of one key alone`],
    rule: 'whose failures a breaker counts: ids that a key makes up are one',
  },
  {
    file: 'src/providers/dialect/learned.ts',
    find: 'return tokens >= this.#maxTokens',
    replace: 'return false',
    tests: [BOUND_TEST],
    rule: 'a bound that is larger than the model’s own answers is not added',
  },
  {
    file: ATTEMPTS,
    find: 'if (!refusal?.isTooLong || times > MAX_SHORTENED) return false',
    replace: 'return false',
    tests: [TRUNCATION_TEST],
    rule: 'a conversation that may be cut is cut again where the provider says that it is too long',
  },
  {
    file: ATTEMPTS,
    find: 'if (!request || request.forCandidate?.(candidate).native) return false',
    replace: 'if (!request) return false',
    tests: [TRUNCATION_TEST],
    rule: 'what a provider cuts itself is left to it',
  },
  {
    file: 'src/providers/relay/read-answer.ts',
    find: 'const refused = hold?.(uncounted)',
    replace: 'const refused = null as never',
    tests: [BYTES_TEST],
    rule: 'a provider’s answer counts among what its tenant holds',
  },
  {
    file: KEPT,
    find: 'if (refused) throw refused',
    replace: '',
    tests: [BYTES_TEST],
    rule: 'kept responses that a request goes on from count among what its tenant holds',
  },
  {
    file: MOVE,
    find: 'entries === ENTRIES_PER_SCRIPT; moved += entries',
    replace: 'moved === 0; moved += entries',
    tests: [REDIS_TEST],
    rule: 'all of a user’s log goes along, in as many slices as it takes (Redis)',
  },
  {
    file: 'src/store/sqlite/steps.ts',
    find: 'if (went < rows) return before',
    replace: 'return before',
    tests: [SQLITE_TEST],
    rule: 'all of a user’s rows go along, in as many steps as it takes (SQLite)',
  },
  {
    file: MOVE_LUA,
    find: "local more = tonumber(values[i] or '0') - tonumber(values[i + 1] or '0')",
    replace: "local more = tonumber(values[i] or '0')",
    tests: [REDIS_TEST],
    rule: 'what a user has used up goes along once',
  },
  {
    file: MOVE_LUA,
    find: "if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end",
    replace: '',
    tests: [REDIS_TEST],
    rule: 'a user who is known under the new id already is not overwritten',
  },
  {
    file: MOVE_LUA,
    find: "if redis.call('EXISTS', unpack(KEYS, 10)) > 0 then return 0 end",
    replace: '',
    tests: [REDIS_TEST],
    rule: 'who was erased is not moved to another id',
  },
  {
    file: 'src/pipeline/authenticate.ts',
    find: 'if (cached?.record && now - cached.at < this.#believedMs) return cached.record',
    replace: 'if (cached?.record) return cached.record',
    tests: ['test/pipeline/authenticate.test.ts'],
    rule: 'a key that was good is believed only so long while the store is away',
  },
  {
    file: 'src/openai/messages/resource.ts',
    find: 'const named = [choice.stop_reason, choice.matched_stop].find((word) => asked.includes(word as string))',
    replace: 'const named = [choice.stop_reason, choice.matched_stop].find((word) => typeof word === "string")',
    tests: ['test/openai/messages/stream.test.ts'],
    rule: 'only what the request wanted to stop at is told as what it stopped at',
  },
]
