import { ArchiveError } from './home.ts'

const ADDRESS = /^([a-z][a-z0-9+.-]*):\/\/([^/]*)\/*(.*)$/is
/** As bucket names may be, those of earlier times too. */
const BUCKET = /^[a-z0-9][a-z0-9._-]{1,253}[a-z0-9]$/i

/** A bucket and what names in it begin with. */
export interface BucketPlace {
  bucket: string
  /** Without slashes at either end; may be empty. */
  prefix: string
}

/** The bucket of an address; null for a path. @throws ArchiveError for an address of anything else */
export function bucketOf(place: string): BucketPlace | null {
  const [, scheme, bucket = '', rest = ''] = ADDRESS.exec(place) ?? []
  if (scheme === undefined) return null
  if (scheme.toLowerCase() !== 's3') {
    throw new ArchiveError(`${scheme}://… is no place for an archive: expected a directory or s3://bucket/prefix.`)
  }
  // Whatever stands before an @ is a secret, and is not repeated.
  if (!BUCKET.test(bucket)) {
    throw new ArchiveError(`s3://…: expected s3://bucket/prefix; ${describe(bucket)}`)
  }
  const prefix = rest.replace(/\/+$/, '')
  if (/[?#]|(^|\/)\.{0,2}(\/|$)/.test(prefix) && prefix !== '') {
    throw new ArchiveError(`s3://${bucket}/…: a prefix is of names and single slashes, without ? and #.`)
  }
  return { bucket, prefix }
}

const describe = (bucket: string): string =>
  bucket === ''
    ? 'the bucket is missing.'
    : bucket.includes('@')
      ? 'keys do not belong into an address, they come from the environment.'
      : `'${bucket}' is no name of a bucket.`
