import type { S3 } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import type { AsyncBuffer } from 'hyparquet'
import { makeClient } from './bucket-client.ts'
import { explained, isChecksum, isCode } from './bucket-errors.ts'
import { BucketLock } from './bucket-lock.ts'
import type { BucketPlace } from './bucket-place.ts'
import { BucketVersions } from './bucket-versions.ts'
import { ArchiveError, type ArchiveHome, type ArchiveLock } from './home.ts'

/** Above it a file goes in parts of that size, several at a time, each of which may fail and be tried again. */
const PART_BYTES = 8 * 2 ** 20
/** A file that does not read back as it was sent is written once more. */
const WRITES = 2
/** The end of a file, which has the places of its columns. */
const TAIL_BYTES = 65_536

/** An archive in a bucket of S3, or of what speaks its language. */
export class Bucket implements ArchiveHome {
  readonly #s3: S3
  readonly #bucket: string
  readonly #prefix: string
  readonly #versions: BucketVersions

  private constructor(client: S3, { bucket, prefix }: BucketPlace) {
    this.#s3 = client
    this.#bucket = bucket
    this.#prefix = prefix === '' ? '' : `${prefix}/`
    this.#versions = new BucketVersions(client, (path, work) => this.#call(path, work))
  }

  /** @throws ArchiveError where the bucket can't be reached, and where nothing is in it and nothing is to be made */
  static async open(place: BucketPlace, { make }: { make: boolean }): Promise<Bucket> {
    const home = new Bucket(makeClient(), place)
    const { Contents = [] } = await home.#call('', ({ Bucket, Key: Prefix }) =>
      home.#s3.listObjectsV2({ Bucket, Prefix, MaxKeys: 1 }),
    )
    if (Contents.length === 0 && !make) throw new ArchiveError(`${home.shown('')}: there is no archive.`)
    return home
  }

  shown(path: string): string {
    return `s3://${this.#bucket}/${this.#prefix}${path}`
  }

  async folders(path: string): Promise<string[]> {
    const found: string[] = []
    for await (const { CommonPrefixes = [] } of this.#pages(path)) {
      for (const { Prefix = '' } of CommonPrefixes) found.push(lastName(Prefix))
    }
    return found.sort()
  }

  async files(path: string): Promise<string[]> {
    const found: string[] = []
    for await (const { Contents = [] } of this.#pages(path)) {
      // A console's "folder" is an empty object whose name ends in a slash.
      for (const { Key = '' } of Contents) if (!Key.endsWith('/')) found.push(lastName(Key))
    }
    return found.sort()
  }

  async *#pages(folder: string) {
    const below = folder === '' ? '' : `${folder}/`
    let after: string | undefined
    do {
      const page = await this.#call(below, ({ Bucket, Key: Prefix }) =>
        this.#s3.listObjectsV2({ Bucket, Prefix, Delimiter: '/', ContinuationToken: after }),
      )
      yield page
      after = page.NextContinuationToken
    } while (after !== undefined)
  }

  async open(path: string, isWhole: boolean): Promise<AsyncBuffer> {
    if (isWhole) return sliceable(await this.#get(path))
    const { bytes: tail, size, etag } = await this.#range(path, `bytes=-${TAIL_BYTES}`)
    const tailAt = size - tail.byteLength
    return {
      byteLength: size,
      slice: async (start, end = size) => {
        if (start >= tailAt) return arrayBufferOf(tail.subarray(start - tailAt, end - tailAt))
        const { bytes } = await this.#range(path, `bytes=${start}-${end - 1}`, etag)
        return arrayBufferOf(bytes)
      },
    }
  }

  async read(path: string): Promise<string | null> {
    return (await orNull(this.#get(path), ['NoSuchKey']))?.toString() ?? null
  }

  async #get(path: string): Promise<Buffer> {
    return (await this.#range(path)).bytes
  }

  /** @param range of bytes; all where left out. @param etag what it must be a part of */
  async #range(path: string, range?: string, etag?: string) {
    return this.#call(path, async (key) => {
      const wanted = { ...(range !== undefined && { Range: range }), ...(etag !== undefined && { IfMatch: etag }) }
      const { Body, ContentRange, ETag, LastModified } = await this.#s3.getObject({ ...key, ...wanted })
      const bytes = Buffer.from((await Body?.transformToByteArray()) ?? [])
      const size = Number(/\/(\d+)$/.exec(ContentRange ?? '')?.[1] ?? bytes.byteLength)
      return { bytes, size, etag: ETag, at: LastModified?.getTime() ?? 0 }
    })
  }

  async write(path: string, bytes: Uint8Array, beforeNaming: () => Promise<void>): Promise<void> {
    // What a file replaces is had again only where there are versions.
    const isNew = !(await this.#isThere(path))
    const broken: (string | undefined)[] = []
    for (let tries = 0; tries < WRITES; tries++) {
      await beforeNaming()
      const version = bytes.byteLength > PART_BYTES ? await this.#putParts(path, bytes) : await this.#put(path, bytes)
      if (await this.#holds(path, bytes)) return this.#versions.forget(path, version)
      broken.push(version)
    }
    for (const VersionId of broken) {
      if (VersionId !== undefined) await this.#call(path, (key) => this.#s3.deleteObject({ ...key, VersionId }))
      else if (isNew) await this.remove(path)
    }
    throw new ArchiveError(`${this.shown(path)} does not hold what was written to it.`)
  }

  async #isThere(path: string): Promise<boolean> {
    return (
      (await orNull(
        this.#call(path, (key) => this.#s3.headObject(key)),
        ['NotFound', 'NoSuchKey'],
      )) !== null
    )
  }

  /** The client compares checksums with those that it sent along, and by them a server refuses what came otherwise. */
  async #holds(path: string, bytes: Uint8Array): Promise<boolean> {
    try {
      return (await this.#get(path)).equals(bytes)
    } catch (error) {
      if (isChecksum(error)) return false
      throw error
    }
  }

  async #put(path: string, bytes: Uint8Array): Promise<string | undefined> {
    const { VersionId } = await this.#call(path, (key) => this.#s3.putObject({ ...key, Body: bytes }))
    return VersionId
  }

  async #putParts(path: string, bytes: Uint8Array): Promise<string | undefined> {
    const { VersionId } = await this.#call(path, (key) =>
      new Upload({ client: this.#s3, params: { ...key, Body: bytes }, partSize: PART_BYTES }).done(),
    )
    return VersionId
  }

  async remove(path: string): Promise<void> {
    const { VersionId } = await this.#call(path, (key) => this.#s3.deleteObject(key))
    await this.#versions.forget(path, VersionId)
  }

  async removeFolder(path: string): Promise<void> {
    for (const folder of await this.folders(path)) await this.removeFolder(`${path}/${folder}`)
    for (const file of await this.files(path)) await this.remove(`${path}/${file}`)
  }

  /** Parts of uploads that were not ended are paid for, and shown nowhere. So are versions of before. */
  async tidy(_folders: readonly string[], isOurs: (path: string) => boolean): Promise<void> {
    let [keyMarker, uploadMarker]: (string | undefined)[] = []
    do {
      const page = await this.#call('', ({ Bucket, Key: Prefix }) =>
        this.#s3.listMultipartUploads({ Bucket, Prefix, KeyMarker: keyMarker, UploadIdMarker: uploadMarker }),
      )
      for (const { Key = '', UploadId } of page.Uploads ?? []) {
        const path = Key.slice(this.#prefix.length)
        if (!Key.startsWith(this.#prefix) || !isOurs(path)) continue
        await this.#call(path, (key) => this.#s3.abortMultipartUpload({ ...key, UploadId }))
      }
      ;[keyMarker, uploadMarker] = page.IsTruncated ? [page.NextKeyMarker, page.NextUploadIdMarker] : []
    } while (keyMarker !== undefined)
    await this.#versions.tidy(isOurs)
  }

  lock(name: string): Promise<ArchiveLock> {
    return BucketLock.take({
      shown: this.shown(name),
      read: async () => {
        const found = await orNull(this.#range(name), ['NoSuchKey'])
        return found && { text: found.bytes.toString(), etag: found.etag ?? '', at: found.at }
      },
      write: async (text, etag) => {
        const condition = etag === null ? { IfNoneMatch: '*' } : { IfMatch: etag }
        const put = this.#call(name, (key) => this.#s3.putObject({ ...key, ...condition, Body: text }))
        const written = await orNull(put, ['PreconditionFailed', 'ConditionalRequestConflict', 'NoSuchKey'])
        if (written) await this.#versions.forget(name, written.VersionId)
        return written && (written.ETag ?? '')
      },
      remove: () => this.remove(name),
      now: () => Date.now() + this.#s3.config.systemClockOffset,
    })
  }

  close(): void {
    this.#s3.destroy()
  }

  /** @param path of an object, or what the names of objects begin with. @throws ArchiveError */
  async #call<T>(path: string, work: (key: { Bucket: string; Key: string }) => Promise<T>): Promise<T> {
    try {
      return await work({ Bucket: this.#bucket, Key: this.#prefix + path })
    } catch (error) {
      throw explained(error, this.shown(path))
    }
  }
}

async function orNull<T>(work: Promise<T>, codes: readonly string[]): Promise<T | null> {
  try {
    return await work
  } catch (error) {
    if (codes.some((code) => isCode(error, code))) return null
    throw error
  }
}

const lastName = (key: string) => key.replace(/\/$/, '').split('/').at(-1) ?? ''

const arrayBufferOf = (bytes: Buffer): ArrayBuffer => new Uint8Array(bytes).buffer

function sliceable(bytes: Buffer): AsyncBuffer {
  return { byteLength: bytes.byteLength, slice: (start, end) => arrayBufferOf(bytes.subarray(start, end)) }
}
