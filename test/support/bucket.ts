import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { S3 } from '@aws-sdk/client-s3'
import { vi } from 'vitest'
import { inVenv } from '../../scripts/lib/paths.mjs'

const SCRIPT = fileURLToPath(new URL('s3_server.py', import.meta.url))

export interface BucketServer {
  /** `http://127.0.0.1:<port>` */
  origin: string
  s3: S3
  /** Every object of a bucket by its key, and what it keeps of earlier versions by key and version. */
  contents(bucket: string): Promise<Map<string, Buffer>>
  /** Keys of uploads that were begun and not ended. */
  unfinished(bucket: string): Promise<string[]>
  /** Forgets all buckets. */
  empty(): Promise<void>
  stop(): Promise<void>
}

/** As in the environment of a program that uses a bucket. No profile of this machine is read. */
export const BUCKET_ENV = {
  AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'secret-canary-wJalrXUtnFEMIK7MDENGbPxRfi',
  AWS_REGION: 'us-east-1',
  AWS_CONFIG_FILE: '/dev/null',
  AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  AWS_EC2_METADATA_DISABLED: 'true',
}

/** Lets this process, and those that it starts, find buckets there. */
export function stubBucketEnv(origin: string): void {
  for (const [name, value] of Object.entries({ ...BUCKET_ENV, AWS_ENDPOINT_URL: origin })) vi.stubEnv(name, value)
}

/** A real server of S3's protocol, with multipart uploads, conditions and versions. */
export async function startBucketServer(): Promise<BucketServer> {
  const env = { ...process.env, ...BUCKET_ENV }
  const child = spawn(inVenv('python'), [SCRIPT], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  const [origin] = (await once(createInterface(child.stdout), 'line')) as [string]
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region } = BUCKET_ENV
  const credentials = { accessKeyId, secretAccessKey }
  const s3 = new S3({ endpoint: origin, forcePathStyle: true, region, credentials })
  return {
    origin,
    s3,
    contents: async (Bucket) => {
      const { Versions = [] } = await s3.listObjectVersions({ Bucket })
      const found = Versions.map(async ({ Key = '', VersionId, IsLatest }): Promise<[string, Buffer]> => {
        const { Body } = await s3.getObject({ Bucket, Key, ...(!IsLatest && { VersionId }) })
        return [IsLatest ? Key : `${Key} ${VersionId}`, Buffer.from((await Body?.transformToByteArray()) ?? [])]
      })
      return new Map(await Promise.all(found))
    },
    unfinished: async (Bucket) => {
      const { Uploads = [] } = await s3.listMultipartUploads({ Bucket })
      return Uploads.map(({ Key = '' }) => Key)
    },
    empty: async () => {
      await fetch(`${origin}/moto-api/reset`, { method: 'POST' })
    },
    stop: async () => {
      s3.destroy()
      const ended = once(child, 'exit')
      child.stdin.end()
      await ended
    },
  }
}
