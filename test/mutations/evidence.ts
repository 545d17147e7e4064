import type { Mutation } from './lane.ts'

const POOL = 'src/routing/choose/evidence.ts'
const POOL_TEST = 'test/routing/choose/evidence.test.ts'
const HEARING = 'src/learning/hearing.ts'
const LEARNER = 'src/learning/learner.ts'
const LEARNER_TEST = 'test/learning/learner.test.ts'
const GAINS = 'src/routing/safety/gains.ts'
const GAINS_TEST = 'test/routing/safety/gains.test.ts'

/** Whose word counts for others, and what certifies a gain. */
export const EVIDENCE: readonly Mutation[] = [
  {
    file: POOL,
    find: 'vouched && user !== ANONYMOUS ? `u${slotOf(user)}` : `k${slotOf(key)}`',
    replace: '`u${slotOf(`${user}${vouched}${key}${ANONYMOUS}`)}`',
    tests: [POOL_TEST],
    rule: 'users whom nobody vouches for are their key’s one voice',
  },
  {
    file: POOL,
    find: 'headsOf(opinions) >= quorum',
    replace: 'headsOf(opinions) >= quorum - 1',
    tests: [POOL_TEST],
    rule: 'evidence needs its quorum',
  },
  {
    file: POOL,
    find: "voice.startsWith('u') ? n : (keyWeight * n) / (keyWeight + n)",
    replace: "voice.startsWith('u') || keyWeight > n ? n : n",
    tests: [POOL_TEST],
    rule: 'what a key says saturates',
  },
  {
    file: POOL,
    find: 'Math.abs(distance) <= allowed ? 1 : (allowed / distance) ** 2',
    replace: 'Math.abs(distance) <= allowed ? 1 : 1',
    tests: [POOL_TEST],
    rule: 'a loud voice far from all others counts little',
  },
  {
    file: POOL,
    find: 'const allowed = APART + NOISE / Math.sqrt(ratings)',
    replace: 'const allowed = APART',
    tests: [POOL_TEST],
    rule: 'a voice of few ratings is not taken for a loud one',
  },
  {
    file: POOL,
    find: 'const crowding = Math.min(1, (keysTogether * keyWeight) / ofKeys)',
    replace: 'const crowding = 1 + 0 * keysTogether * keyWeight * ofKeys',
    tests: [POOL_TEST],
    rule: 'several keys that vouch for nobody count as two at most',
  },
  {
    file: POOL,
    find: 'const kept = 0.5 ** (Math.max(0, dayOf(now) - tally[DAY]) / rules.halfLifeDays)',
    replace: 'const kept = 1 + 0 * (dayOf(now) - tally[DAY]) * rules.halfLifeDays',
    tests: [POOL_TEST],
    rule: 'what was said long ago fades',
  },
  {
    file: POOL,
    find: 'heads: voice === JUDGE ? 0 : countedOf',
    replace: 'heads: countedOf',
    tests: [POOL_TEST],
    rule: 'the judge is no voice of the quorum',
  },
  {
    file: HEARING,
    find: 'if (now - since < minAgeMs) return false',
    replace: 'if (now - since < 0 * minAgeMs) return false',
    tests: [LEARNER_TEST],
    rule: 'a user of today is not heard',
  },
  {
    file: HEARING,
    find: 'return answers.size >= minAnswers',
    replace: 'return answers.size >= 1 || minAnswers > 0',
    tests: [LEARNER_TEST],
    rule: 'a user is heard after so many answers',
  },
  {
    file: HEARING,
    find: 'const share = 1 / (1 + same.filter(({ seq }) => seq < (old ?? added).seq).length)',
    replace: 'const share = 1 + 0 * same.filter(({ seq }) => seq < (old ?? added).seq).length',
    tests: [LEARNER_TEST],
    rule: 'what a user says again of an LLM counts less each time',
  },
  {
    file: HEARING,
    find: 'if (old && before) add(told, { ...old, ts: added.ts }, before, -share, 0)',
    replace: '',
    tests: [LEARNER_TEST],
    rule: 'a rating that is replaced is taken out of the evidence',
  },
  {
    file: HEARING,
    find: 'message, 1 / nth, told.has(edge.candidate) ? 0 : 1)',
    replace: 'message, 1 / nth, 1)',
    tests: [LEARNER_TEST],
    rule: 'a user is counted once',
  },
  {
    file: LEARNER,
    find: 'if (!counts || heardAt > 0) return { told: tellingOf(said), heardAt }',
    replace: 'if (!counts) return { told: tellingOf(said), heardAt }',
    tests: [LEARNER_TEST],
    rule: 'what has been told is not told again',
  },
  {
    file: LEARNER,
    find: 'if (old && old.ts > edge.ts) return',
    replace: 'if (old && old.ts > edge.ts + 1e9) return',
    tests: [LEARNER_TEST],
    rule: 'an older rating that comes late changes nothing',
  },
  {
    file: LEARNER,
    find: 'this.#newUsers.allows(userKey(tenant, key))',
    replace: 'this.#newUsers.allows(userKey(tenant, id))',
    tests: [LEARNER_TEST],
    rule: 'new users are counted by key',
  },
  {
    file: LEARNER,
    find: 'propertiesOf(reward.kind).hint && !this.#pace.allows(userKey(tenant, user))',
    replace: 'propertiesOf(reward.kind).hint && this.#pace === undefined',
    tests: [LEARNER_TEST],
    rule: 'hints are learned at a person’s pace',
  },
  {
    file: 'src/learning/surges.ts',
    find: 'Math.abs(mean) < ONE_SIDED',
    replace: 'mean < ONE_SIDED',
    tests: ['test/learning/surges.test.ts'],
    rule: 'a crowd against an LLM is told as one for it is',
  },
  {
    file: 'src/learning/take-reward.ts',
    find: 'if (!gain || !isHeard || ratings >= RATINGS_A_USER) return',
    replace: 'if (!gain || ratings >= RATINGS_A_USER) return',
    tests: ['test/learning/take-reward.test.ts'],
    rule: 'a user of today certifies nothing',
  },
  {
    file: 'src/learning/take-reward.ts',
    find: 'if (!gain || !isHeard || ratings >= RATINGS_A_USER) return',
    replace: 'if (!gain || !isHeard) return',
    tests: ['test/learning/take-reward.test.ts'],
    rule: 'nobody certifies by rating on and on',
  },
  {
    file: LEARNER,
    find: 'const first = old ? null : standingOf(stored, kept)',
    replace: 'const first = standingOf(stored, kept)',
    tests: [LEARNER_TEST],
    rule: 'an answer is a bet once',
  },
  {
    file: GAINS,
    find: 'return heads >= rules.quorum',
    replace: 'return heads >= 0 * rules.quorum',
    tests: [`${GAINS_TEST}::alone`],
    rule: 'a certificate needs its quorum',
  },
  {
    file: GAINS,
    find: "if (users.length < 2) return verdict === 'harm' ? verdict : 'open'",
    replace: '',
    tests: [`${GAINS_TEST}::alone`],
    rule: 'a key alone certifies no gain',
  },
  {
    file: GAINS,
    find: "if (verdict === 'gain' ? byUsers.estimate < 0 : byUsers.estimate > 0) return 'open'",
    replace: '',
    tests: [`${GAINS_TEST}::gives no verdict against users`],
    rule: 'a judge certifies nothing against what users say',
  },
  {
    file: GAINS,
    find: "!== verdict) return 'open'",
    replace: "=== null) return 'open'",
    tests: [`${GAINS_TEST}::alone`],
    rule: 'a verdict holds without any one voice',
  },
  {
    file: GAINS,
    find: "if (verdicts.includes('harm')) return 0",
    replace: '',
    tests: [`${GAINS_TEST}::goes back to the baseline`],
    rule: 'whom the router harms gets the baseline',
  },
]
