import { userHash } from '../../runtime/keys.ts'

/**
 * Every key in Redis. All of a tenant's share the hash tag `{<tenant>}`, so that one script may change several of them
 * in a Redis Cluster. Tenant keys (credentials) are looked up before the tenant is known; they share a slot of their
 * own, so that a revocation is one step. They are few, and cached.
 */
export const tag = (tenant: string) => `pr:{${tenant}}:`

export const tenantKeys = {
  records: 'pr:{keys}:records',
  ids: 'pr:{keys}:ids',
}

/** Names of the tenants that have a log. */
export const TENANTS = 'pr:tenants'
/** Under which all replicas keep user ids. */
export const SHARED_SECRET = 'pr:shared-secret'
/** Tells that secret, or the one configured, from others. */
export const SECRET_FINGERPRINT = 'pr:secret-fingerprint'
/** Processes that use this Redis. */
export const REPLICAS = 'pr:replicas'
/** Published in every change that replicas cache: `Invalidation` as JSON. */
export const CHANGES = 'pr:changes'
/** A replica hears from itself there, and so knows whether it may have missed a change. */
export const heartbeatChannel = (replica: string) => `pr:heartbeat:${replica}`

export const interactions = (tenant: string) => `${tag(tenant)}interactions`
/** A copy of it that is being made, to take its place; and the lock of who makes it. */
export const scrubbed = (tenant: string) => `${tag(tenant)}interactions:scrubbed`
export const scrubbing = (tenant: string) => `${tag(tenant)}scrubbing`
/** There where no vector of an earlier version is left. */
export const isScrubbed = (tenant: string) => `${tag(tenant)}scrubbed`
export const rewards = (tenant: string) => `${tag(tenant)}rewards`

export const user = (tenant: string, id: string) => `${tag(tenant)}user:${id}`
export const edges = (tenant: string, id: string) => `${tag(tenant)}edges:${id}`
export const edgeOrder = (tenant: string, id: string) => `${tag(tenant)}edge-order:${id}`
/** Present ids of users who have got another one, by former ones. */
export const moved = (tenant: string) => `${tag(tenant)}moved`
/** When each of those is forgotten: a hash has one time for all. */
export const movedUntil = (tenant: string) => `${tag(tenant)}moved-until`
/** Ids that a user has had. */
export const former = (tenant: string, id: string) => `${tag(tenant)}former:${id}`
/** Part of the key under which the user's vectors are sealed. */
export const salt = (tenant: string, id: string) => `${tag(tenant)}salt:${id}`
/** Which log rows are a user's. */
export const userLog = (tenant: string, id: string) => `${tag(tenant)}user-log:${id}`
export const userConversations = (tenant: string, id: string) => `${tag(tenant)}user-conversations:${id}`
/** Erased users are remembered by a hash: their id is gone. */
export const erased = (tenant: string, id: string) => erasedHash(tenant, userHash(id))
export const erasedHash = (tenant: string, hash: string) => `${tag(tenant)}erased:${hash}`
/** When the whole tenant was erased. */
export const tenantErased = (tenant: string) => `${tag(tenant)}erased:`

/** Of one interaction; each takes its id, or "" for what such a key starts with. */
export const marker = (tenant: string, id: string) => `${tag(tenant)}interaction:${id}`
export const completion = (tenant: string, id: string) => `${tag(tenant)}completion:${id}`
/** What rows of a slice of time share, by its name: a slice is 2^28 ms (`log-index.lua`). */
export const shared = (tenant: string, ts: number) => `${tag(tenant)}shared:${Math.floor(ts / SLICE_MS)}`
const SLICE_MS = 2 ** 28
export const text = (tenant: string, id: string) => `${tag(tenant)}text:${id}`
export const knownRewards = (tenant: string, id: string) => `${tag(tenant)}known-rewards:${id}`

export const conversation = (tenant: string, id: string) => `${tag(tenant)}turn:${id}`
/** What deployments refused of the tenant's requests. */
export const refusals = (tenant: string) => `${tag(tenant)}refusals`
/** What the operator switched to. */
export const mode = (tenant: string) => `${tag(tenant)}mode`
export const evidence = (tenant: string, key: string) => `${tag(tenant)}evidence:${key}`
export const idempotencyKeys = (tenant: string) => `${tag(tenant)}idempotency`
export const idempotencyBytes = (tenant: string) => `${tag(tenant)}idempotency-bytes`
/** By a hash of the client's key. */
export const idempotencyKey = (tenant: string, hash: string) => `${tag(tenant)}idempotency:${hash}`
/** Of one tenant's kept responses: when they run out, and their sizes. */
export const responses = (tenant: string) => `${tag(tenant)}responses`
export const responseBytes = (tenant: string) => `${tag(tenant)}response-bytes`
/** Takes "<id>\n<user>". */
export const response = (tenant: string, member: string) => `${tag(tenant)}response:${member}`
export const userResponses = (tenant: string, id: string) => `${tag(tenant)}user-responses:${id}`
export const responseItems = (tenant: string, id: string) => `${tag(tenant)}response-items:${id}`
/** What was used in a day: fields `tenant` and `key:<id>`; of users, their ids. */
export const usage = (tenant: string, day: string) => `${tag(tenant)}usage:${day}`
export const usersUsage = (tenant: string, day: string) => `${tag(tenant)}users-usage:${day}`
/** A claim that was given up while it may still be on its way, by its token. */
export const voidClaim = (tenant: string, token: string) => `${tag(tenant)}void-claim:${token}`
/** Never written: stands for what each server is asked. */
export const NODES = 'pr:nodes'
/** Never written: read to learn whether the tenant's part of a cluster answers. */
export const probe = (tenant: string) => `${tag(tenant)}probe`
