import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { Archive } from '../../../src/store/archive/archive.ts'
import { Bucket } from '../../../src/store/archive/bucket.ts'
import { BucketLock, type LockObject } from '../../../src/store/archive/bucket-lock.ts'
import { bucketOf } from '../../../src/store/archive/bucket-place.ts'
import { ArchiveError } from '../../../src/store/archive/home.ts'
import { BUCKET_ENV, type BucketServer, startBucketServer, stubBucketEnv } from '../../support/bucket.ts'
import { startUpstream, type Upstream } from '../../support/upstream.ts'
import { aZombie } from '../../support/zombie.ts'

afterEach(() => void vi.unstubAllEnvs())

describe('an address', () => {
  test.each([
    ['s3://logs', { bucket: 'logs', prefix: '' }],
    ['S3://logs/', { bucket: 'logs', prefix: '' }],
    ['s3://my.logs-1/a/b c/', { bucket: 'my.logs-1', prefix: 'a/b c' }],
    ['/srv/archive', null],
    ['archive', null],
    ['./s3:/logs', null],
  ])('%s', (place, expected) => expect(bucketOf(place)).toEqual(expected))

  test.each([
    ['s3://', 'the bucket is missing'],
    ['s3:///logs', 'the bucket is missing'],
    ['s3://key:canary@logs/a', 'keys do not belong into an address'],
    ['s3://lo gs', 'is no name of a bucket'],
    ['s3://logs/a?region=x', 'single slashes'],
    ['s3://logs/a//b', 'single slashes'],
    ['s3://logs/../b', 'single slashes'],
    ['gs://logs/a', 'gs://… is no place for an archive'],
    ['https://canary@host/a', 'https://… is no place for an archive'],
  ])('%s is refused', (place, message) => {
    expect(() => bucketOf(place)).toThrow(message)
    expect(() => bucketOf(place)).not.toThrow('canary')
  })
})

describe('what answers badly is told in words, without a secret', () => {
  let upstream: Upstream
  beforeAll(async () => {
    upstream = await startUpstream((exchange) => exchange.reply(500, ''))
  })
  afterAll(() => upstream.close())
  beforeEach(() => {
    stubBucketEnv(upstream.origin)
    vi.stubEnv('AWS_MAX_ATTEMPTS', '1')
  })

  const answers = (status: number, code: string, more = '') =>
    upstream.play((exchange) =>
      exchange.reply(
        status,
        `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>It says ${BUCKET_ENV.AWS_ACCESS_KEY_ID} and ${BUCKET_ENV.AWS_SECRET_ACCESS_KEY}.</Message>${more}</Error>`,
        { 'content-type': 'application/xml' },
      ),
    )
  async function said(): Promise<string> {
    const error = await Archive.open('s3://logs/a', { make: true }).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(ArchiveError)
    const { message } = error as Error
    expect(message).toMatch(/^s3:\/\/logs\/a\/(archive\.lock)?: [^\n]+\.$/)
    expect(message).not.toMatch(/canary|AKIA|undefined|\[object/)
    return message
  }

  test.each([
    [404, 'NoSuchBucket', 'there is no such bucket'],
    [403, 'AccessDenied', 'access is denied: needed are s3:ListBucket'],
    [403, 'InvalidAccessKeyId', 'the access key is not known there'],
    [403, 'SignatureDoesNotMatch', 'the secret key is not the one of the access key'],
    [400, 'ExpiredToken', 'the session of the credentials has expired'],
    [400, 'InvalidToken', 'the session token is not valid'],
    [403, 'RequestTimeTooSkewed', 'this machine’s clock is too far'],
    [400, 'AuthorizationHeaderMalformed', 'the bucket is in another region: set AWS_REGION'],
    [301, 'PermanentRedirect', 'the bucket is in another region: set AWS_REGION'],
    [501, 'NotImplemented', 'does not know this operation'],
    [507, 'XMinioStorageFull', 'the bucket is full'],
    [418, 'Teapot', 'It says'],
  ])('%i %s', async (status, code, words) => {
    answers(status, code)
    expect(await said()).toContain(words)
  })

  test('the region that it is in is told', async () => {
    answers(400, 'AuthorizationHeaderMalformed', '<Region>eu-west-1</Region>')
    expect(await said()).toContain('it is in eu-west-1')
  })

  test('too busy, too often', { timeout: 60_000 }, async () => {
    answers(503, 'SlowDown')
    expect(await said()).toContain('too busy, and was tried several times')
  })

  test('no S3 at all', async () => {
    upstream.play((exchange) => exchange.reply(200, '<html>hello</html>'))
    const error = await Archive.open('s3://logs/a').catch((error: unknown) => error)
    expect(error).toBeInstanceOf(ArchiveError)
    upstream.play((exchange) => exchange.reply(404, 'nothing here'))
    expect(await said()).toMatch(/no S3|NotFound|404/i)
  })

  test('nothing listens', { timeout: 60_000 }, async () => {
    vi.stubEnv('AWS_ENDPOINT_URL', 'http://127.0.0.1:1')
    expect(await said()).toContain('nothing listens there (ECONNREFUSED)')
  })

  test('no credentials, and no region', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', '')
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', '')
    expect(await said()).toContain('no credentials that can be used')
    vi.stubEnv('AWS_ENDPOINT_URL', '')
    vi.stubEnv('AWS_REGION', '')
    expect(await said()).toContain('set AWS_REGION')
  })
})

describe('a server', () => {
  let server: BucketServer
  beforeAll(async () => {
    server = await startBucketServer()
    await server.s3.createBucket({ Bucket: 'logs' })
    await server.s3.createBucket({ Bucket: 'locked' })
  })
  afterAll(() => server.stop())
  beforeEach(() => stubBucketEnv(server.origin))

  test('takes a large file in parts, as it was; a part is read', { timeout: 60_000 }, async () => {
    const home = await Bucket.open({ bucket: 'logs', prefix: 'large' }, { make: true })
    const bytes = Buffer.alloc(20 * 2 ** 20, 'persona')
    bytes.write('end', bytes.length - 3)
    await home.write('file', bytes, async () => {})
    expect((await server.s3.headObject({ Bucket: 'logs', Key: 'large/file' })).ETag).toMatch(/-3"$/)
    expect(await server.unfinished('logs')).toEqual([])
    for (const isWhole of [true, false]) {
      const file = await home.open('file', isWhole)
      expect(file.byteLength).toBe(bytes.length)
      for (const [from, to] of [
        [0, 7],
        [1_000_000, 1_000_100],
        [bytes.length - 8],
        [bytes.length - 70_000, bytes.length - 3],
      ] as const) {
        // biome-ignore format: one list
        expect(Buffer.from(await file.slice(from, to)).equals(bytes.subarray(from, to))).toBe(true)
      }
    }
    home.close()
  })

  test('of which a write is cut off: the file is not there, and what was begun goes with the next run', async () => {
    const path = 'tenant=acme/day=2026-11-28/interactions-1-a.parquet'
    const begun = { Bucket: 'logs', Key: `cut/${path}` }
    await server.s3.createMultipartUpload(begun)
    await server.s3.createMultipartUpload({ Bucket: 'logs', Key: 'cut/somebody-else.bin' })
    await server.s3.createMultipartUpload({ Bucket: 'logs', Key: `elsewhere/${path}` })
    const archive = await Archive.open('s3://logs/cut', { make: true })
    expect(await server.unfinished('logs')).toContain(begun.Key)
    await archive.tidy()
    expect((await server.unfinished('logs')).sort()).toEqual(['cut/somebody-else.bin', `elsewhere/${path}`])
    await archive.close()
  })

  test('lets one process at a time at it, and keeps no lock of a dead one', async () => {
    const archive = await Archive.open('s3://locked/a', { make: true })
    await expect(Archive.open('s3://locked/a')).rejects.toThrow('another process is at work on this archive')
    await archive.close()
    expect(await server.contents('locked')).toEqual(new Map())
    await expect(Archive.open('s3://locked/a')).rejects.toThrow('s3://locked/a/: there is no archive')
    await server.s3.putObject({ Bucket: 'locked', Key: 'a/letter.txt', Body: 'Dear Ann' })
    await expect(Archive.open('s3://locked/a', { make: true })).rejects.toThrow('letter.txt is there')
  })
})

describe('a lock', () => {
  let now = 1_000_000
  let kept: { text: string; etag: string; at: number } | null = null
  let writes = 0
  const object: LockObject = {
    shown: 's3://logs/archive.lock',
    read: async () => kept,
    write: async (text, etag) => {
      if (kept?.etag !== (etag ?? undefined)) return null
      kept = { text, etag: String(++writes), at: now }
      return kept.etag
    },
    remove: async () => {
      kept = null
    },
    now: () => now,
  }
  const elsewhere = JSON.stringify({ host: 'elsewhere', pid: 1, token: 'theirs' })
  const take = async () => {
    const lock = await BucketLock.take(object)
    expect(await lock.isOurs()).toBe(true)
    return lock
  }

  test('of a process that was silent for long is taken over, by one of two', async () => {
    kept = { text: elsewhere, etag: 'old', at: now }
    await expect(BucketLock.take(object)).rejects.toThrow('another process')
    now += 301_000
    const both = await Promise.allSettled([BucketLock.take(object), BucketLock.take(object)])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    for (const one of both) if (one.status === 'fulfilled') await one.value.release()
    expect(kept).toBeNull()
  })

  test.skipIf(process.platform !== 'linux')(
    'of a process of this machine that was killed is taken over at once',
    async () => {
      const { mark, bury } = await aZombie()
      kept = { text: JSON.stringify({ ...mark, token: 'theirs' }), etag: 'old', at: now }
      await (await take()).release()
      expect(kept).toBeNull()
      bury()
    },
  )

  test('of which a reply was lost is had all the same, and is kept up', async () => {
    vi.useFakeTimers()
    try {
      kept = null
      /** The client has tried once more, and tells of that. */
      let isLost = true
      const lossy: LockObject = {
        ...object,
        write: async (text, etag) => {
          const written = await object.write(text, etag)
          return isLost ? null : written
        },
      }
      const lock = await BucketLock.take(lossy)
      expect(await lock.isOurs()).toBe(true)
      now += 20_000
      await vi.advanceTimersByTimeAsync(20_000)
      isLost = false
      for (let beats = 0; beats < 20; beats++) {
        now += 20_000
        await vi.advanceTimersByTimeAsync(20_000)
      }
      await expect(BucketLock.take(object)).rejects.toThrow('another process')
      expect(await lock.isOurs()).toBe(true)
      await lock.release()
      expect(kept).toBeNull()
      // What a dead process has left is taken over by a write whose reply is lost, too.
      kept = { text: elsewhere, etag: 'old', at: now - 301_000 }
      isLost = true
      await (await BucketLock.take(lossy)).release()
      expect(kept).toBeNull()
    } finally {
      vi.useRealTimers()
    }
  })

  test('that was taken over is noticed, and stays the other’s', async () => {
    const lock = await take()
    kept = { text: elsewhere, etag: 'x', at: now }
    expect(await lock.isOurs()).toBe(false)
    await lock.release()
    expect(kept?.text).toBe(elsewhere)
    kept = null
    expect(await lock.isOurs()).toBe(false)
  })
})
