import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { adminCall, call, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { ADMIN_KEY, type RunningGateway, TEST_KEY } from '../support/gateway.ts'
import { type Memories, QUESTIONS } from './live.ts'
import { OPEN_KEY } from './world.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** What a gateway says of all that it keeps, section by section. */
export type Observed = Record<string, unknown>

export interface Version {
  /** Where the source of the version lies. */
  root?: string
  /** Of its processes. */
  env?: Record<string, string>
}

const USERS: [user: string, key: string][] = [
  ...['ada', 'bea', 'cyd', 'dan', 'dee', 'max', 'nobody'].map((user): [string, string] => [user, TEST_KEY]),
  ['eve@example.com', OPEN_KEY],
]

/** Reads all that can be read from outside; nothing that is kept changes by it. */
export async function observe(gateway: RunningGateway, memories: Memories, version: Version = {}): Promise<Observed> {
  return {
    records: await exportedLines(gateway, version),
    usage: await usages(gateway, memories),
    profiles: await profiles(gateway),
    decisions: await decisions(gateway),
    keys: await keys(gateway, memories),
    responses: await responses(gateway, memories),
    admin: await admin(gateway),
  }
}

/** The log, by the operator's command: interactions, then rewards. Once it has a row of each of these answers. */
export async function exportedLines(
  { configFile, dir }: RunningGateway,
  { root = ROOT, env = {} }: Version,
  answers: readonly { request: string }[] = [],
): Promise<Record<string, unknown>[]> {
  return await eventually(
    async () => {
      const args = [join(root, 'src/cli/cli.ts'), 'export', '--config', configFile]
      const { stdout } = await promisify(execFile)(process.execPath, args, {
        cwd: dir,
        env: { ...process.env, ...env },
        maxBuffer: 256 * 1024 * 1024,
      })
      const rows = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line)) // biome-ignore format: one step
      const ids = new Set(rows.map(({ id }) => id))
      return answers.every(({ request }) => ids.has(request)) && rows.sort(byName)
    },
    'every answer is in the log',
    60_000,
  )
}

const nameOf = ({ type, ts, id, interaction, kind, user }: Record<string, unknown>) =>
  [type, ts, id ?? interaction, kind, user].join(' ')
const byName = (a: Record<string, unknown>, b: Record<string, unknown>) => (nameOf(a) < nameOf(b) ? -1 : 1)

/** What was used and what is left: the moment a window ends depends on the clock. */
async function usages(gateway: RunningGateway, { keys: secrets }: Memories) {
  const said: Record<string, unknown> = {}
  const days = '?from=2026-11-01&to=2027-10-31'
  const bound: (typeof USERS)[number] = ['ada', secrets.bound ?? '']
  for (const [user, key] of [...USERS, bound]) {
    const { from: _, to: __, ...rest } = await (await call(gateway, `/v1/usage${days}`, { user, key })).json()
    said[`${user} ${key.slice(0, 12)}`] = rest
  }
  const sums = await adminCall(gateway, `/usage${days}&by=day,model`)
  said.all = (await sums.json()).data
  return inOrder(without(said, 'resets_at'))
}

/** Most lists have none. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, inOrder(inner)]))
}

async function profiles(gateway: RunningGateway) {
  const said: Record<string, unknown> = {}
  for (const [user, key] of USERS) {
    const response = await call(gateway, `/v1/users/${encodeURIComponent(user)}/profile`, { key })
    const text = await response.text()
    // An error names its request.
    said[user] = response.ok ? JSON.parse(text) : response.status
  }
  return said
}

async function decisions(gateway: RunningGateway) {
  const said: Record<string, unknown> = {}
  for (const [user, key] of USERS) {
    for (const question of QUESTIONS) said[`${user}: ${question}`] = await explain(gateway, question, { user, key })
  }
  return said
}

async function keys(gateway: RunningGateway, { keys: secrets }: Memories) {
  const said: Record<string, unknown> = {}
  for (const [name, key] of Object.entries({ ...secrets, unknown: 'pr-none-0123456789abcdef' })) {
    const models = await call(gateway, '/v1/models', { key })
    const profile = await call(gateway, '/v1/users/bea/profile', { key })
    await profile.text()
    const { data } = await models.json()
    said[name] = [models.status, data?.map(({ id }: { id: string }) => id) ?? null, profile.status]
  }
  return said
}

async function responses(gateway: RunningGateway, { responses: ids }: Memories) {
  const read = async (path: string, user: string) => {
    const response = await call(gateway, path, { user })
    const text = await response.text()
    return response.ok ? JSON.parse(text) : response.status
  }
  return Promise.all(
    ids.map(async (id) => [
      await read(`/v1/responses/${id}`, 'cyd'),
      await read(`/v1/responses/${id}/input_items`, 'cyd'),
      await read(`/v1/responses/${id}`, 'ada'),
    ]),
  )
}

async function admin(gateway: RunningGateway) {
  const of = async (path: string) => (await adminCall(gateway, path, { key: ADMIN_KEY })).json()
  const [test, open] = [await of('/evidence?tenant=test'), await of('/evidence?tenant=open')]
  const [keys, modes, refusals] = [await of('/keys'), await of('/modes'), await of('/refusals')]
  return inOrder({ keys, modes, refusals, evidence: { test, open } })
}

/** Leaves out a field, wherever it is. */
function without(value: unknown, name: string): unknown {
  if (Array.isArray(value)) return value.map((item) => without(item, name))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== name)
      .map(([key, inner]) => [key, without(inner, name)]),
  )
}
