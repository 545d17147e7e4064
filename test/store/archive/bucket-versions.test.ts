import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { Archive } from '../../../src/store/archive/archive.ts'
import { Bucket } from '../../../src/store/archive/bucket.ts'
import { type BucketServer, startBucketServer, stubBucketEnv } from '../../support/bucket.ts'
import { type BucketProxy, startBucketProxy } from '../../support/bucket-proxy.ts'
import { all, anInteraction } from '../records.ts'

const DAY = 'tenant=acme/day=2026-11-28'
const [FILE, GONE] = [`${DAY}/interactions-1-a.parquet`, `${DAY}/rewards-1-a.parquet`]

let server: BucketServer
let proxy: BucketProxy
beforeAll(async () => {
  server = await startBucketServer()
  proxy = await startBucketProxy(server.origin)
})
afterAll(async () => {
  await proxy?.close()
  await server?.stop()
})
beforeEach(async () => {
  await server.empty()
  proxy.treat = ({ body }) => body
  proxy.hidden = []
  stubBucketEnv(proxy.origin)
  for (const Bucket of ['plain', 'kept']) await server.s3.createBucket({ Bucket })
  await server.s3.putBucketVersioning({ Bucket: 'kept', VersioningConfiguration: { Status: 'Enabled' } })
})
afterEach(() => void vi.unstubAllEnvs())

const openHome = (bucket: string) => Bucket.open({ bucket, prefix: 'a' }, { make: true })
const write = (home: Bucket, path: string, text: string) => home.write(path, Buffer.from(text), async () => {})

/** By name: what is kept, the present first, and markers of removals. */
async function kept(Bucket = 'kept'): Promise<Record<string, string[]>> {
  const { Versions = [], DeleteMarkers = [] } = await server.s3.listObjectVersions({ Bucket })
  const found: Record<string, string[]> = {}
  for (const { Key = '', VersionId, IsLatest } of Versions) {
    const { Body } = await server.s3.getObject({ Bucket, Key, VersionId })
    const text = (await Body?.transformToString()) ?? ''
    found[Key] = IsLatest ? [text, ...(found[Key] ?? [])] : [...(found[Key] ?? []), text]
  }
  for (const { Key = '' } of DeleteMarkers) found[Key] = [...(found[Key] ?? []), 'removed']
  return found
}

/** The next run. */
async function runAgain(): Promise<void> {
  const archive = await Archive.open('s3://kept/a', { make: true })
  try {
    await archive.tidy()
  } finally {
    await archive.close()
  }
}

describe('what was replaced or removed when a run was cut off', () => {
  test.each([
    ['before versions were listed', /[?&]versions/],
    ['before the first was removed', /[?&]versionId=/],
  ])('%s is gone after the next', async (_, refused) => {
    const home = await openHome('kept')
    for (const path of [FILE, GONE, 'erasures.json']) await write(home, path, 'erased')
    for (const text of ['theirs', 'theirs, too']) {
      await server.s3.putObject({ Bucket: 'kept', Key: `a/${DAY}/film.mp4`, Body: text })
    }
    proxy.treat = ({ url, body }) => (refused.test(url) ? { status: 403, code: 'AccessDenied' } : body)
    const isDenied = { name: 'ArchiveError', message: expect.stringContaining('access is denied') }
    await expect(write(home, FILE, 'stays')).rejects.toMatchObject(isDenied)
    await expect(write(home, 'erasures.json', '{}')).rejects.toMatchObject(isDenied)
    await expect(home.remove(GONE)).rejects.toMatchObject(isDenied)
    home.close()
    await expect(runAgain()).rejects.toMatchObject(isDenied)
    expect(JSON.stringify(await kept())).toContain('erased')

    proxy.treat = ({ body }) => body
    await server.s3.deleteObject({ Bucket: 'kept', Key: 'a/archive.lock' })
    await runAgain()
    expect(await kept()).toEqual({
      [`a/${FILE}`]: ['stays'],
      'a/erasures.json': ['{}'],
      [`a/${DAY}/film.mp4`]: ['theirs, too', 'theirs'],
    })
  })

  test('cut off in the midst: a removed file is not there again', async () => {
    const home = await openHome('kept')
    await write(home, GONE, 'erased')
    await write(home, FILE, 'stays')
    for (const text of ['more', 'and more']) await server.s3.putObject({ Bucket: 'kept', Key: `a/${GONE}`, Body: text })
    await server.s3.deleteObject({ Bucket: 'kept', Key: `a/${GONE}` })
    for (let allowed = 0; allowed < 4; allowed++) {
      let left = allowed
      proxy.treat = ({ url, body }) =>
        url.includes('rewards') && url.includes('versionId=') && left-- <= 0
          ? { status: 403, code: 'AccessDenied' }
          : body
      await runAgain().catch(() => {})
      expect(await home.files(DAY)).toEqual(['interactions-1-a.parquet'])
    }
    home.close()
    expect(await kept()).toEqual({ [`a/${FILE}`]: ['stays'] })
  })
})

test('versions go although what writes and removes names none, as where they were suspended', async () => {
  const before = await openHome('kept')
  for (const path of [FILE, GONE]) await write(before, path, 'erased')
  before.close()
  proxy.hidden = ['x-amz-version-id']
  const home = await openHome('kept')
  await home.tidy([], () => true)
  await write(home, FILE, 'stays')
  await home.remove(GONE)
  home.close()
  expect(await kept()).toEqual({ [`a/${FILE}`]: ['stays'] })
})

describe('a bucket without versions', () => {
  test.each([
    [403, 'AccessDenied'],
    [501, 'NotImplemented'],
  ])('need not list them: %i %s', async (status, code) => {
    proxy.treat = ({ url, body }) => (/[?&]versions/.test(url) ? { status, code } : body)
    const archive = await Archive.open('s3://plain/a', { make: true })
    await archive.tidy()
    const rows = [anInteraction({ baselineUsd: null })]
    await archive.add('interaction', { tenant: 'acme', day: '2026-11-28' }, rows)
    expect(await all(archive.read('interaction', {}))).toEqual(rows)
    await archive.close()
  })
})

describe('a disk that keeps other bytes than it was sent', () => {
  /** So many writes. */
  const breakWrites = (times: number) => {
    let left = times
    proxy.treat = ({ method, url, body }) =>
      method === 'PUT' && url.includes('.parquet') && left-- > 0 ? Buffer.from(body.map((byte) => byte ^ 1)) : body
  }
  const refused = { name: 'ArchiveError', message: expect.stringContaining('does not hold what was written to it') }

  test.each(['plain', 'kept'])('once: is written again (%s)', async (bucket) => {
    const home = await openHome(bucket)
    for (const text of ['first', 'second']) {
      breakWrites(1)
      await write(home, FILE, text)
      expect(await kept(bucket)).toEqual({ [`a/${FILE}`]: [text] })
    }
    home.close()
  })

  test.each(['plain', 'kept'])('always: a new file gets no name (%s)', async (bucket) => {
    const home = await openHome(bucket)
    breakWrites(9)
    await expect(write(home, FILE, 'first')).rejects.toMatchObject(refused)
    home.close()
    expect(await kept(bucket)).toEqual({})
  })

  test('always: where there are versions, what was there stays there', async () => {
    const home = await openHome('kept')
    await write(home, FILE, 'first')
    breakWrites(9)
    await expect(write(home, FILE, 'second')).rejects.toMatchObject(refused)
    home.close()
    expect(await kept()).toEqual({ [`a/${FILE}`]: ['first'] })
  })
})
