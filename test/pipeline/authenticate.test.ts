import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { makeKey } from '../../src/candidates/keys.ts'
import { configSchema } from '../../src/config/schema.ts'
import { Authenticator } from '../../src/pipeline/authenticate.ts'
import { type Store, StoreError } from '../../src/store/store.ts'
import { openTestStore, withOverrides } from '../learning/support.ts'

let store: Store
beforeEach(() => {
  store = openTestStore()
})
afterEach(() => store.close())

const config = configSchema.parse({ tenants: [{ name: 'acme', keys: ['a-key-of-the-configuration'] }] })
const newKey = async (of: object = {}) => {
  const wanted = { tenant: 'acme', name: '', expiresAt: null, models: null, user: null, scopes: null, ...of }
  const { secret, record } = makeKey(wanted)
  await store.createKey(record)
  return { secret, record }
}
const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

it('tells tenant, user, scopes and models of a key; a key of the configuration has all that is usual', async () => {
  const { secret, record } = await newKey({ user: 'ann', scopes: ['chat'], models: ['cheap'] })
  const keys = new Authenticator(store, config)
  expect(await keys.authenticate(bearer(secret))).toEqual({
    tenant: 'acme',
    keyId: record.id,
    user: 'ann',
    scopes: ['chat'],
    models: ['cheap'],
  })
  expect(keys.authenticate(bearer('a-key-of-the-configuration'))).toEqual({
    tenant: 'acme',
    keyId: 'config-acme-0',
    scopes: null,
    models: null,
  })
})

it('a revocation that is announced takes effect at once, not after the cache’s time', async () => {
  const { secret, record } = await newKey()
  const keys = new Authenticator(store, config)
  await keys.authenticate(bearer(secret))
  await store.revokeKey(record.id, Date.now())
  await expect(async () => keys.authenticate(bearer(secret))).rejects.toMatchObject({ status: 401 })
})

it('two different keys in one request are refused, the same one twice is not; an unknown one is 401', async () => {
  const keys = new Authenticator(store, config)
  const same = { ...bearer('a-key-of-the-configuration'), 'x-api-key': 'a-key-of-the-configuration' }
  expect(keys.authenticate(same)).toMatchObject({ tenant: 'acme' })
  expect(() => keys.authenticate({ ...same, 'api-key': 'another-key-0123456789' })).toThrow(/different keys/)
  await expect(async () => keys.authenticate(bearer('another-key-0123456789'))).rejects.toMatchObject({ status: 401 })
  expect(() => keys.authenticate({})).toThrow(/Incorrect API key/)
})

it('while the store is away a key that was good is believed as long as configured, an unknown one never', async () => {
  const { secret } = await newKey()
  const { secret: unseen } = await newKey()
  let isAway = false
  const away = withOverrides(store, {
    findKey: (hash) => (isAway ? Promise.reject(new StoreError('away')) : store.findKey(hash)),
  })
  vi.useFakeTimers({ toFake: ['performance'] })
  try {
    const keys = new Authenticator(away, config)
    await keys.authenticate(bearer(secret))
    isAway = true
    vi.advanceTimersByTime(890_000)
    expect(await keys.authenticate(bearer(secret))).toMatchObject({ tenant: 'acme' })
    await expect(async () => keys.authenticate(bearer(unseen))).rejects.toThrow('away')
    vi.advanceTimersByTime(20_000)
    await expect(async () => keys.authenticate(bearer(secret))).rejects.toThrow('away')
    keys.configure({ ...config, limits: { ...config.limits, believe_keys_s: 3_600 } })
    expect(await keys.authenticate(bearer(secret))).toMatchObject({ tenant: 'acme' })
    keys.configure({ ...config, limits: { ...config.limits, believe_keys_s: 0 } })
    await expect(async () => keys.authenticate(bearer(secret))).rejects.toThrow('away')
  } finally {
    vi.useRealTimers()
  }
})
