import type { Mutation } from './lane.ts'

const IDS = 'test/candidates/user-ids.test.ts'
const IDENTITY_TEST = 'test/security/identity.test.ts'
const TENANTS = 'src/candidates/tenants.ts'
const AUTHENTICATE = 'src/pipeline/authenticate.ts'
const PRINCIPAL = 'src/pipeline/principal.ts'
const CONVERSATION = 'src/pipeline/conversation.ts'
const IDEMPOTENCY = 'src/pipeline/idempotency.ts'

/** Who asks, what they may do, and what is whose. */
export const IDENTITY: readonly Mutation[] = [
  {
    file: TENANTS,
    find: '.update(`${userKey(tenant.name, user)}\\0${conversation}`)',
    replace: '.update(`${tenant.name}\\0${conversation}`)',
    tests: [IDS],
    rule: 'a conversation is its user’s',
  },
  {
    file: TENANTS,
    find: 'if (tenant.plain_user_ids) return `p:${user}`',
    replace: 'if (tenant.plain_user_ids) return user',
    tests: [IDS],
    rule: 'no user can call themselves as the anonymous one is kept',
  },
  {
    file: TENANTS,
    find: 'return message === null ? null : `message-${this.conversation(tenant, user, `message\\0${message}`)}`',
    replace: "return message === null ? null : `message-${this.conversation(tenant, '', `message\\0${message}`)}`",
    tests: [IDS],
    rule: 'a message is its user’s',
  },
  {
    file: CONVERSATION,
    find: 'digestOf(name === null ? [user, ...opening()] : [user, name])',
    replace: 'digestOf(name === null ? opening() : [user, name])',
    tests: ['test/pipeline/conversation.test.ts'],
    rule: 'a conversation that is recognised by its opening is its user’s',
  },
  {
    file: CONVERSATION,
    find: 'if (this.#pending.get(pending) === state) this.#pending.delete(pending)',
    replace: 'this.#pending.delete(pending)',
    tests: ['test/pipeline/conversation.test.ts'],
    rule: 'a later turn of a conversation stays found when an earlier one is stored',
  },
  {
    file: AUTHENTICATE,
    find: 'if (record.revokedAt !== null || (record',
    replace: 'if ((record',
    tests: ['test/faults/client-keys.test.ts::bad key'],
    rule: 'a revoked key is refused',
  },
  {
    file: AUTHENTICATE,
    find: '(record.expiresAt !== null && record.expiresAt <= Date.now())',
    replace: 'false',
    tests: ['test/faults/client-keys.test.ts::bad key'],
    rule: 'a key that has expired is refused',
  },
  {
    file: AUTHENTICATE,
    find: 'if (found !== undefined && found !== key) {',
    replace: 'if (found === null) {',
    tests: ['test/pipeline/authenticate.test.ts'],
    rule: 'two different keys in one request are refused',
  },
  {
    file: AUTHENTICATE,
    find: "if (change.kind === 'keys') this.#cache.clear()",
    replace: '',
    tests: ['test/pipeline/authenticate.test.ts'],
    rule: 'a revocation takes effect at once',
  },
  {
    file: AUTHENTICATE,
    find: 'if (!needed.some((scope) => has.includes(scope))) throw',
    replace: 'if (has.length === 0) throw',
    tests: [`${IDENTITY_TEST}::scopes`],
    rule: 'a key opens what its scopes say',
  },
  {
    file: 'src/candidates/scopes.ts',
    find: "path === '/v1/users' || path.startsWith('/v1/users/')",
    replace: "path === '/v1/users'",
    tests: [`${IDENTITY_TEST}::scopes`],
    rule: 'profiles need the scope of profiles',
  },
  {
    file: 'src/candidates/scopes.ts',
    find: 'scopes ?? (user === undefined ? OF_A_TENANT : OF_ONE_USER)',
    replace: 'scopes ?? OF_A_TENANT',
    tests: [`${IDENTITY_TEST}::bound to a user`],
    rule: 'a key of one user reaches no other',
  },
  {
    file: 'src/candidates/new-key.ts',
    find: "scopes.filter((scope) => scope === 'vouch' || scope.endsWith(':any'))",
    replace: "scopes.filter((scope) => scope === 'vouch')",
    tests: [`${IDENTITY_TEST}::bound to a user`],
    rule: 'a key of one user can’t be given everybody’s profiles',
  },
  {
    file: 'src/pipeline/context.ts',
    find: 'if (caller.user !== undefined && caller.user !== named) {',
    replace: 'if (caller.user === named && named === null) {',
    tests: [`${IDENTITY_TEST}::bound to a user`],
    rule: 'a bound key with a token of somebody else is refused',
  },
  {
    file: 'src/pipeline/context.ts',
    find: "identity.jwt && (identity.from === 'any' || identity.from === 'token')",
    replace: 'identity.jwt',
    tests: [`${IDENTITY_TEST}::identity.from`],
    rule: 'a token is not looked at where another source alone is trusted',
  },
  {
    file: PRINCIPAL,
    find: "from === 'any' || from === 'header' ? headers : []",
    replace: 'headers',
    tests: [`${IDENTITY_TEST}::identity.from`],
    rule: 'headers are not looked at where another source alone is trusted',
  },
  {
    file: PRINCIPAL,
    find: "if (from !== 'any' && from !== 'body') return null",
    replace: '',
    tests: [`${IDENTITY_TEST}::identity.from`],
    rule: 'the body is not looked at where another source alone is trusted',
  },
  {
    file: PRINCIPAL,
    find: 'caller.user === undefined ? userOf(request, identity, body)',
    replace: 'caller.user === undefined || body?.user ? userOf(request, identity, body)',
    tests: [`${IDENTITY_TEST}::bound to a user`],
    rule: 'a bound key means its user, whatever the body says',
  },
  {
    file: PRINCIPAL,
    find: 'vouched: user !== null && isVouched(tenant, caller),',
    replace: 'vouched: user !== null,',
    tests: ['test/pipeline/principal.test.ts'],
    rule: 'a user whom a client names is vouched for by nobody',
  },
  {
    file: PRINCIPAL,
    find: 'caller.models === null ? tenant.candidates : selectCandidates(tenant.candidates, caller.models)',
    replace: 'tenant.candidates',
    tests: ['test/pipeline/principal.test.ts'],
    rule: 'a key is limited to its models',
  },
  {
    file: PRINCIPAL,
    find: 'if (seen.includes(mark)) throw',
    replace: 'if (seen === mark) throw',
    tests: ['test/faults/client-http.test.ts::name the caller', 'test/pipeline/principal.test.ts'],
    rule: 'a header that names the caller is there once',
  },
  {
    file: 'src/pipeline/user-token.ts',
    find: "requiredClaims: ['exp'],",
    replace: '',
    tests: ['test/pipeline/user-token.test.ts'],
    rule: 'a user token without an end is refused',
  },
  {
    file: 'src/pipeline/user-token.ts',
    find: 'const CLOCK_TOLERANCE_S = 30',
    replace: 'const CLOCK_TOLERANCE_S = 3e9',
    tests: ['test/pipeline/user-token.test.ts'],
    rule: 'a user token that has expired is refused',
  },
  {
    file: 'src/pipeline/user-token.ts',
    find: '...(audience !== undefined && { audience }),',
    replace: '',
    tests: ['test/pipeline/user-token.test.ts'],
    rule: 'a token for another audience is refused',
  },
  {
    file: 'src/pipeline/user-token.ts',
    find: 'if (config.required) throw',
    replace: 'if (config.required === null) throw',
    tests: ['test/pipeline/user-token.test.ts'],
    rule: 'where a token is required, no request goes without',
  },
  {
    file: 'src/api/profiles.ts',
    find: "!scopesOf(caller).includes('profile:any') && principalOf(snapshot, userIds, caller, incoming).user !== user",
    replace: 'scopesOf(caller).length === 0 && user === id',
    tests: [`${IDENTITY_TEST}::own is the user`],
    rule: 'whoever may see their own profile sees no other',
  },
  {
    file: 'src/api/feedback.ts',
    find: 'if (!mayRate(deps, context, feedback, interaction)) throw',
    replace: 'if (feedback.user === null) throw',
    tests: [`${IDENTITY_TEST}::own is the user`],
    rule: 'whoever may rate their own answers rates no other',
  },
  {
    file: IDEMPOTENCY,
    find: 'const asked = `${user}\\0${endpoint.name}\\0',
    replace: 'const asked = `\\0${endpoint.name}\\0',
    tests: ['test/e2e/limits.test.ts::body or the user is another'],
    rule: 'a kept answer is its user’s',
  },
  {
    file: IDEMPOTENCY,
    find: '{ end: (isWhole) => end(isWhole ? kept() : null) }',
    replace: '{ end: () => end(kept()) }',
    tests: ['test/e2e/limits.test.ts::failed request frees its key'],
    rule: 'only a whole answer is kept for the next request',
  },
  {
    file: IDEMPOTENCY,
    find: 'const grant = await quota.reserveRequest(context, principal)\n      replay',
    replace: 'const grant = { settle() {} }\n      replay',
    tests: ['test/security/admission.test.ts::every route has a limit', 'test/e2e/limits.test.ts::Idempotency-Key'],
    rule: 'a replayed answer counts as a request',
  },
]

/** What leaves for a provider. */
export const BODIES: readonly Mutation[] = [
  {
    file: 'src/openai/rewrite.ts',
    find: "if (field !== 'model') set",
    replace: 'set',
    tests: ['test/openai/outgoing-model.test.ts'],
    rule: 'the model that leaves is the candidate’s, whatever is given by default',
  },
  {
    file: 'src/openai/rewrite.ts',
    find: 'const isTaken = name !== field && names.has(name)',
    replace: 'const isTaken = false',
    tests: ['test/openai/outgoing-model.test.ts', 'test/openai/rewrite.test.ts'],
    rule: 'no field leaves twice',
  },
  {
    file: 'src/openai/raw-body.ts',
    find: 'if (spans.has(key)) throw',
    replace: 'if (spans.has(`${key}\\0`)) throw',
    tests: ['test/openai/raw-body.test.ts'],
    rule: 'a repeated field is refused',
  },
  {
    file: 'src/openai/raw-body.ts',
    find: 'refuseLookAlikes(json as Record<string, unknown>)',
    replace: '',
    tests: ['test/openai/outgoing-model.test.ts', 'test/openai/raw-body.test.ts'],
    rule: 'a field that is a known one but for case is refused',
  },
  {
    file: 'src/openai/field-names.ts',
    find: "key.toUpperCase().toLowerCase().replace(/[-_]/g, '')",
    replace: "key.toLowerCase().replace(/[-_]/g, '')",
    tests: ['test/security/same-body.test.ts'],
    rule: 'case is folded as Unicode has it',
  },
  {
    file: 'src/candidates/tenants.ts',
    find: 'const candidate = allowed.find(({ name }) => name === model)',
    replace: 'const candidate = allowed.find(({ name }) => name.startsWith(model))',
    tests: ['test/candidates/tenants.test.ts'],
    rule: 'a model is named by its whole name',
  },
]
