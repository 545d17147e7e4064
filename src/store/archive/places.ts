import { bucketOf } from './bucket-place.ts'
import { Directory } from './directory.ts'
import type { ArchiveHome } from './home.ts'

/** @throws ArchiveError where there is none, or nothing can be reached */
export async function openHome(place: string, options: { make: boolean }): Promise<ArchiveHome> {
  const bucket = bucketOf(place)
  if (bucket === null) return new Directory(place, options)
  const { Bucket } = await import('./bucket.ts')
  return Bucket.open(bucket, options)
}
