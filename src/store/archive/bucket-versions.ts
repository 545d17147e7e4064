import type { S3 } from '@aws-sdk/client-s3'
import { isCode } from './bucket-errors.ts'

type Call = <T>(path: string, work: (key: { Bucket: string; Key: string }) => Promise<T>) => Promise<T>

interface Found {
  Key?: string | undefined
  VersionId?: string | undefined
  IsLatest?: boolean | undefined
}

/**
 * What a bucket keeps of files that were replaced or removed: erased rows would stay in it. A bucket whose versions are
 * suspended has those of before.
 */
export class BucketVersions {
  readonly #s3: S3
  readonly #call: Call
  /** Whether there are any, as far as is known. */
  #any = false

  constructor(s3: S3, call: Call) {
    this.#s3 = s3
    this.#call = call
  }

  /**
   * Leaves the present version of a file alone.
   *
   * @param version as the bucket named it when the file was written or removed; undefined where it keeps none now
   */
  async forget(path: string, version: string | undefined): Promise<void> {
    if (version !== undefined) this.#any = true
    if (this.#any) await this.#forget(path, (found) => found === path)
  }

  /** All that writes and removals which were cut off have left. */
  async tidy(isOurs: (path: string) => boolean): Promise<void> {
    try {
      await this.#forget('', isOurs)
    } catch (error) {
      // Who has no versions need not allow that they are listed.
      if (this.#any || !isCode(error, 'AccessDenied')) throw error
    }
  }

  async #forget(prefix: string, isOurs: (path: string) => boolean): Promise<void> {
    const { versions, markers } = await this.#old(prefix, isOurs)
    // The marker last: without it a removed file's last version would be the present one again.
    for (const { path, VersionId } of [...versions, ...markers]) {
      await this.#call(path, (key) => this.#s3.deleteObject({ ...key, VersionId }))
    }
  }

  async #old(prefix: string, isOurs: (path: string) => boolean) {
    const versions: (Found & { path: string })[] = []
    const markers: typeof versions = []
    for await (const { root, Versions = [], DeleteMarkers = [] } of this.#pages(prefix)) {
      const ours = (found: Found[]) =>
        found
          .map((one) => ({ ...one, path: prefix + (one.Key ?? '').slice(root.length) }))
          .filter(({ Key, path }) => Key?.startsWith(root) && isOurs(path))
      const present = ours(Versions)
      if (present.some(({ VersionId }) => VersionId !== undefined && VersionId !== 'null')) this.#any = true
      versions.push(...present.filter(({ IsLatest }) => IsLatest === false))
      markers.push(...ours(DeleteMarkers))
    }
    return { versions, markers }
  }

  async *#pages(prefix: string) {
    let [keyMarker, versionMarker]: (string | undefined)[] = []
    do {
      const page = await this.#call(prefix, async ({ Bucket, Key: Prefix }) => ({
        ...(await this.#s3.listObjectVersions({
          Bucket,
          Prefix,
          KeyMarker: keyMarker,
          VersionIdMarker: versionMarker,
        })),
        root: Prefix,
      })).catch(noneWhereUnknown)
      if (page === null) return
      yield page
      ;[keyMarker, versionMarker] = page.IsTruncated ? [page.NextKeyMarker, page.NextVersionIdMarker] : []
    } while (keyMarker !== undefined)
  }
}

/** A server that can't list versions keeps none. */
function noneWhereUnknown(error: unknown): null {
  if (isCode(error, 'NotImplemented') || isCode(error, 'MethodNotAllowed')) return null
  throw error
}
