import { expect, it } from 'vitest'
import { parsePreferences, refuseUnknownNames } from '../../src/api/profiles.ts'
import { configSchema } from '../../src/config/schema.ts'
import { candidate } from '../routing/support.ts'

const parse = (body: object) => parsePreferences(Buffer.from(JSON.stringify(body)))

it('accepts preferences alone, or as in an exported profile', () => {
  expect(parse({ cost_weight: 0.5, deny: ['a'] })).toEqual({ cost_weight: 0.5, deny: ['a'] })
  expect(parse({ id: 'ann', preferences: { explore: false } })).toEqual({ explore: false })
})

it.each([
  [{ denny: ['a'] }, 'denny'],
  [{ cost_weight: 2 }, 'cost_weight'],
  [{ allow: [''] }, 'allow.0'],
  [{ prefer: { Code: 'a' } }, 'prefer.Code'],
  [{ prefer: { code: '' } }, 'prefer.code'],
  [{ prefer: ['a'] }, 'prefer'],
])('%j is a 400 that names %s', (body, param) => {
  expect(() => parse(body)).toThrow(
    expect.objectContaining({ status: 400, param, message: expect.stringContaining(param) }),
  )
})

it.each([
  [{ allow: ['good', 'god'] }, 'allow'],
  [{ deny: ['other-tenants'] }, 'deny'],
  [{ deny: ['default'] }, 'deny'],
  [{ prefer: { code: 'god' } }, 'prefer.code'],
])('%j names no candidate of the tenant', (preferences, param) => {
  return expect(refuse(preferences)).rejects.toMatchObject({ status: 400, param })
})

it('accepts candidates that can’t be used at the moment, or that a local server has', () =>
  refuse({ allow: ['good', 'off', 'local/anything'], deny: ['discovered'] }))

it('what was stated earlier may be written back when its candidate has gone; nothing unknown is added', async () => {
  const stated = { deny: ['gone'] }
  await refuse({ deny: ['gone', 'good'] }, stated)
  await expect(refuse({ deny: ['gone', 'gonne'] }, stated)).rejects.toMatchObject({ param: 'deny' })
  await expect(refuse({ allow: ['gone'] }, stated)).rejects.toMatchObject({ param: 'allow' })
})

it('prefers a candidate for a kind of task that is told apart; what was stated earlier may stay', async () => {
  await refuse({ prefer: { code: 'good', writing: 'off' } })
  await expect(refuse({ prefer: { coding: 'good' } })).rejects.toMatchObject({
    status: 400,
    param: 'prefer.coding',
    message: expect.stringContaining('there are code, writing'),
  })
  await expect(refuse({ prefer: { code: 'good' } }, {}, [])).rejects.toMatchObject({ param: 'prefer.code' })
  const stated = { prefer: { code: 'gone', coding: 'good' } }
  await refuse(stated, stated)
  await refuse({ prefer: { coding: 'off' } }, stated)
  await expect(refuse({ prefer: { code: 'gonne' } }, stated)).rejects.toMatchObject({ param: 'prefer.code' })
})

const config = configSchema.parse({
  providers: { local: { kind: 'openai-compatible', base_url: 'http://127.0.0.1:1/v1', discover: true } },
  candidates: [
    { name: 'good', provider: 'p' },
    { name: 'off', provider: 'p' },
    { name: 'other-tenants', provider: 'p', groups: ['other'] },
  ],
})
const refuse = (preferences: object, stated: object = {}, tasks = ['code', 'writing']) =>
  refuseUnknownNames(
    preferences,
    config,
    {
      name: 'default',
      config: config.tenants[0]!,
      candidates: [candidate('good'), candidate('discovered')],
      aliases: [],
    },
    tasks,
    async () => stated,
  )
