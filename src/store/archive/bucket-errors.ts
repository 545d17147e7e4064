import { causeOf, codeOf } from '../../runtime/error-cause.ts'
import { ArchiveError } from './home.ts'

/** What an operator does about an answer of S3, by its code; each of them may come under several. */
const WORDS: readonly [codes: readonly string[], words: string][] = [
  [['NoSuchBucket'], 'there is no such bucket'],
  [['NoSuchKey'], 'it is not there (any more)'],
  [
    ['AccessDenied', 'Forbidden', 'AllAccessDisabled', 'AccountProblem'],
    'access is denied: needed are s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload below the prefix, and where the bucket keeps versions s3:ListBucketVersions and s3:DeleteObjectVersion',
  ],
  [
    ['InvalidAccessKeyId', 'UnrecognizedClientException', 'InvalidClientTokenId'],
    'the access key is not known there (AWS_ACCESS_KEY_ID, or the profile)',
  ],
  [
    ['SignatureDoesNotMatch'],
    'the secret key is not the one of the access key (AWS_SECRET_ACCESS_KEY, or the profile)',
  ],
  [
    ['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired', 'RequestExpired'],
    'the session of the credentials has expired: get new ones',
  ],
  [['InvalidToken', 'InvalidIdentityToken'], 'the session token is not valid (AWS_SESSION_TOKEN)'],
  [['RequestTimeTooSkewed', 'RequestInTheFuture'], 'this machine’s clock is too far from the bucket’s: set it (NTP)'],
  [
    ['PermanentRedirect', 'TemporaryRedirect', 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException'],
    'the bucket is in another region: set AWS_REGION',
  ],
  [['InvalidBucketName'], 'that is no name of a bucket'],
  [['NotImplemented', 'MethodNotAllowed'], 'what answers there does not know this operation of S3'],
  [['ObjectLockConfigurationNotFoundError', 'InvalidRetentionPeriod'], 'the bucket locks its objects'],
  [['QuotaExceeded', 'XMinioStorageFull', 'InsufficientCapacity'], 'the bucket is full'],
  [
    ['SlowDown', 'ServiceUnavailable', 'Throttling', 'ThrottlingException', 'TooManyRequests', 'RequestLimitExceeded'],
    'it is too busy, and was tried several times: run again',
  ],
  [['InternalError', 'RequestTimeout', 'TimeoutError'], 'it failed several times: run again'],
]

const STATUS: Readonly<Record<number, string>> = {
  301: 'PermanentRedirect',
  403: 'AccessDenied',
  503: 'SlowDown',
}

interface Answered extends Error {
  Code?: string
  Region?: string
  $metadata?: { httpStatusCode?: number }
  $response?: { headers?: Record<string, string> }
}

/** An error of the client of S3, told in words; its code is `cause`'s. No key and no token is in it. */
export function explained(error: unknown, place: string): unknown {
  if (!(error instanceof Error) || error instanceof ArchiveError) return error
  return new ArchiveError(`${place}: ${wordsFor(error as Answered)}.`, { cause: error })
}

/** Whether an error that was told in words is the one of this code. */
export function isCode(error: unknown, code: string): boolean {
  const cause = error instanceof ArchiveError ? (error.cause as Answered | undefined) : undefined
  return cause !== undefined && (cause.name === code || cause.Code === code)
}

/** Whether an error that was told in words says that an object is not what its checksum says. */
export function isChecksum(error: unknown): boolean {
  return error instanceof ArchiveError && /checksum mismatch/i.test((error.cause as Error | undefined)?.message ?? '')
}

function wordsFor(error: Answered): string {
  const status = error.$metadata?.httpStatusCode
  if (/CredentialsProvider|Credentials?Error/.test(error.name) || /credential/i.test(error.message)) {
    return `no credentials that can be used: ${withoutSecrets(error.message)} (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role)`
  }
  if (/^Region (is missing|not accepted)/i.test(error.message))
    return 'the region of the bucket is not known: set AWS_REGION'
  const named = WORDS.find(([codes]) => codes.includes(error.name) || codes.includes(error.Code ?? ''))
  const byStatus = WORDS.find(([codes]) => status !== undefined && codes.includes(STATUS[status] ?? ''))
  const words = (named ?? byStatus)?.[1]
  if (words !== undefined) {
    const region = error.Region ?? error.$response?.headers?.['x-amz-bucket-region']
    const where = words.includes('AWS_REGION') && region ? ` (it is in ${region})` : ''
    return `${words}${where} (${error.Code ?? error.name})`
  }
  if (codeOf(error) !== undefined) return causeOf(error)
  if (/deserialization|is not expected|parse/i.test(error.message)) return 'what answers there is no S3'
  return `${withoutSecrets(error.message.split('\n')[0] ?? '')} (${error.name})`
}

/** A server’s words may repeat what it was sent. */
const withoutSecrets = (text: string): string =>
  text.replace(/\.$/, '').replace(/\b(AKIA|ASIA)[A-Z0-9]{8,}|[A-Za-z0-9+/=_-]{32,}/g, '…')
