import type { Mutation } from './lane.ts'

const ATTACHED = 'src/pipeline/quota/attachments.ts'
const ESTIMATE = 'src/pipeline/quota/estimate.ts'
const COMPLETIONS = 'src/api/completions.ts'
const SAMPLE = 'src/learning/sources/sample.ts'
const GHOST = 'src/learning/sources/ghost.ts'
const LOGINS = 'src/console/failed-logins.ts'
const PASSED = 'src/api/passthrough/target.ts'
const reserved = (part: string) => [`test/security/reserved-in-full.test.ts::${part}`]

/** What is reserved of whatever a request holds; what is asked in the gateway's own name; who comes past the routes. */
export const BEHIND_THE_KEY: readonly Mutation[] = [
  {
    file: 'src/api/feedback-page.ts',
    find: "(done === 'not found' && !isOnItsWay)",
    replace: "done === 'not found'",
    tests: ['test/security/feedback.test.ts::by a link'],
    rule: 'a link works at every replica at once',
  },
  {
    file: ATTACHED,
    find: 'if (!COUNTED.has(field) && !NO_PROMPT.has(field)) this.#bytes',
    replace: 'if (false) this.#bytes',
    tests: reserved('prediction'),
    rule: 'texts beside messages are reserved',
  },
  {
    file: ATTACHED,
    find: 'if (!COUNTED_OF_MESSAGES.has(field)) this.#beside',
    replace: 'if (false) this.#beside',
    tests: reserved('reasoning_content'),
    rule: 'texts of a message beside its content are reserved',
  },
  {
    file: ATTACHED,
    find: 'else if (isNamed(field, value)) this.#files++',
    replace: '',
    tests: reserved('chat/completions.*elsewhere.pdf'),
    rule: 'a file at an address is reserved',
  },
  {
    file: ATTACHED,
    find: "[file, fileUrl, type === 'url' ? url : null]",
    replace: '[file, fileUrl]',
    tests: reserved('"type":"url"'),
    rule: 'a document at an address is reserved where its provider fetches it',
  },
  {
    file: ATTACHED,
    find: 'HOSTED_TOOL.test(typeOf(tool))) this.#tools++',
    replace: 'HOSTED_TOOL.test(typeOf(tool))) this.#tools += 0',
    tests: reserved('web_search_20250305'),
    rule: 'what a provider’s own tools find is reserved',
  },
  {
    file: ESTIMATE,
    find: 'const body = saidOf(request.body, defaults)',
    replace: 'const body = request.body',
    tests: reserved('eight'),
    rule: 'a candidate’s own number of answers is reserved',
  },
  {
    file: ESTIMATE,
    find: 'const read = Math.max(estimated, given)',
    replace: 'const read = estimated',
    tests: ['test/pipeline/quota/quota.test.ts'],
    rule: 'what a chat completion has no word for is reserved where its provider reads it',
  },
  {
    file: COMPLETIONS,
    find: 'answers: promptsIn(body.prompt) * Math.max(body.n ?? 1, body.best_of ?? 1),',
    replace: '',
    tests: reserved('best_of'),
    rule: 'answers that are thrown away are reserved',
  },
  {
    file: COMPLETIONS,
    find: '(texts === null ? tokensIn(body.prompt) : 0)',
    replace: '0',
    tests: reserved('7,7,7'),
    rule: 'a prompt of tokens is reserved',
  },
  {
    file: 'src/providers/guards.ts',
    find: '  n_predict: NEVER,\n',
    replace: '',
    tests: reserved('n_predict'),
    rule: 'a length in another server’s words does not reach it',
  },
  {
    file: 'src/openai/field-names.ts',
    find: 'lookAlikeIn(json, BELOW, OF_REQUESTS, FOLDED_OF_REQUESTS)',
    replace: 'lookAlikeIn(json, BELOW)',
    tests: ['test/security/same-body.test.ts::nor is a look-alike'],
    rule: 'look-alikes of guarded fields are refused',
  },
  {
    file: PASSED,
    find: 'if (caller.models !== null) throw modelsAlone()',
    replace: '',
    tests: ['test/api/passthrough.test.ts::a key for some models alone'],
    rule: 'a key for some models does not reach what takes any',
  },
  {
    file: PASSED,
    find: 'if (WAY_OUT.test(path)) throw',
    replace: 'if (path === null) throw',
    tests: ['test/api/passthrough.test.ts'],
    rule: 'no path leads out of what is passed on',
  },
  {
    file: SAMPLE,
    find: 'theirs >= Math.ceil(share * config.concurrent)',
    replace: 'theirs >= config.concurrent',
    tests: ['test/learning/sources/judge.test.ts', 'test/learning/sources/ghost.test.ts'],
    rule: 'one tenant’s answers do not take all places of a judge',
  },
  {
    file: SAMPLE,
    find: 'this.budget.hasRoom(tenant, share, usd)',
    replace: 'this.budget.hasRoom(tenant, share, 0)',
    tests: ['test/learning/sources/ghost.test.ts', 'test/learning/sources/judge.test.ts'],
    rule: 'what a comparison is expected to cost has to fit the day’s budget',
  },
  {
    file: 'src/learning/sources/daily-budget.ts',
    find: 'share * this.#usd - (this.#spent.get(tenant) ?? 0)',
    replace: 'this.#usd',
    tests: ['test/learning/sources/ghost.test.ts', 'test/learning/sources/judge.test.ts'],
    rule: 'one tenant’s answers do not spend all of a judge’s day',
  },
  {
    file: GHOST,
    find: 'this.#sample.budget.spend(tenant, told.costUsd)',
    replace: '',
    tests: ['test/learning/sources/ghost.test.ts'],
    rule: 'what ghosts cost is booked',
  },
  {
    file: GHOST,
    find: 'if (!other.isWhole) return',
    replace: '',
    tests: ['test/learning/sources/ghost.test.ts'],
    rule: 'an answer that was cut off loses no comparison',
  },
  {
    file: GHOST,
    find: 'maxTokens: mostOf(answered), stop',
    replace: 'stop',
    tests: ['test/learning/sources/ghost.test.ts'],
    rule: 'a rival’s answer is bounded by the one that was given',
  },
  {
    file: 'src/learning/sources/judge-frame.ts',
    find: ".replaceAll('<', '‹')",
    replace: '',
    tests: ['test/learning/sources/judge.test.ts'],
    rule: 'an answer can’t close the frame in which a judge reads it',
  },
  {
    file: LOGINS,
    find: '(NETWORK.exec(address)?.[0] ?? address)',
    replace: 'address',
    tests: ['test/console/failed-logins.test.ts'],
    rule: 'who has a network of addresses has ten tries, not ten from each',
  },
  {
    file: LOGINS,
    find: 'refuse(since(this.#all, now), MOST.all, now)',
    replace: '',
    tests: ['test/console/failed-logins.test.ts'],
    rule: 'wrong keys are bounded over all addresses, too',
  },
  {
    file: 'src/runtime/per-minute.ts',
    find: 'return ++count.count <= this.#most',
    replace: 'return count.count++ <= this.#most',
    tests: ['test/runtime/per-minute.test.ts'],
    rule: 'no more than so many a minute',
  },
  {
    file: 'src/pipeline/feedback-link.ts',
    find: 'return expiresAt > now ?',
    replace: 'return expiresAt > 0 ?',
    tests: ['test/pipeline/feedback-link.test.ts'],
    rule: 'a link to rate ends',
  },
  {
    file: 'src/store/sqlite/wal.ts',
    find: ": outcome === 'busy'",
    replace: ': false',
    tests: ['test/store/sqlite/wal.test.ts'],
    rule: 'what was erased is taken out of the log, however long a reader is in the way',
  },
  {
    file: 'src/openai/embeddings-answer.ts',
    find: 'json.data.length !== inputs',
    replace: 'json.data.length > inputs',
    tests: ['test/api/embeddings.test.ts', 'test/faults/upstream-told-answers.test.ts::embedding'],
    rule: 'an input without a vector is no answer',
  },
]
