import type { IncomingMessage } from 'node:http'
import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from 'jose'
import type { Config } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'

type UserTokenConfig = NonNullable<Config['identity']['jwt']>

const HMAC = ['HS256', 'HS384', 'HS512']
/** Never an HMAC, whose key would be a public one. */
const SIGNATURES = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
/** Clocks of two machines. */
const CLOCK_TOLERANCE_S = 30

/** Keys of one configuration: fetched once, and again when a token has a new one. */
const keys = new WeakMap<UserTokenConfig, Uint8Array | JWTVerifyGetKey>()

type Jose = typeof import('jose')

function keyOf(jose: Jose, config: UserTokenConfig): Uint8Array | JWTVerifyGetKey {
  let key = keys.get(config)
  if (!key) {
    key =
      config.secret !== undefined
        ? new TextEncoder().encode(config.secret)
        : publishedKeys(jose, new URL(config.jwks_url ?? ''))
    keys.set(config, key)
  }
  return key
}

/** Whatever keeps the keys away: no token can be told to be wrong. */
class KeysAway extends Error {}

function publishedKeys({ createRemoteJWKSet, errors }: Jose, url: URL): JWTVerifyGetKey {
  const find = createRemoteJWKSet(url)
  const ofTheToken = [errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys, errors.JOSENotSupported]
  return async (header, token) => {
    try {
      return await find(header, token)
    } catch (error) {
      if (ofTheToken.some((kind) => error instanceof kind)) throw error
      throw new KeysAway('the keys for user tokens are away', { cause: error })
    }
  }
}

/**
 * The user whom a signed token names (RFC 7519), such as Open WebUI sends with each request; null where there is none.
 *
 * @throws GatewayError 401 for a token that is not valid, or where one is required; 503 when the keys can't be had
 */
export function userOfToken(config: UserTokenConfig | undefined, request: IncomingMessage): Promise<string> | null {
  if (config === undefined) return null
  const token = request.headers[config.header]
  if (typeof token === 'string' && token !== '') return verified(config, token.replace(/^Bearer +/i, ''))
  if (config.required) throw invalid(`The header '${config.header}' with a signed user token is missing.`)
  return null
}

async function verified(config: UserTokenConfig, token: string): Promise<string> {
  const { issuer, audience, claim } = config
  const options = {
    algorithms: config.secret !== undefined ? HMAC : SIGNATURES,
    clockTolerance: CLOCK_TOLERANCE_S,
    requiredClaims: ['exp'],
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
  }
  // Loaded by those alone who have tokens.
  const jose = await import('jose')
  const key = keyOf(jose, config)
  let user: unknown
  try {
    const payload = await payloadOf(jose, token, key, options)
    user = payload[claim]
  } catch (error) {
    throw refusalOf(jose, error, config.header)
  }
  if (typeof user === 'string' && user !== '') return user
  throw invalid(`The user token in '${config.header}' has no claim '${claim}' with text.`)
}

async function payloadOf(
  { jwtVerify, errors }: Jose,
  token: string,
  key: Uint8Array | JWTVerifyGetKey,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  if (key instanceof Uint8Array) return (await jwtVerify(token, key, options)).payload
  try {
    return (await jwtVerify(token, key, options)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    // A token that names no key, while its issuer has several of the kind: one of them it may be.
    for await (const one of error) {
      try {
        return (await jwtVerify(token, one, options)).payload
      } catch (inner) {
        if (!(inner instanceof errors.JWSSignatureVerificationFailed) && !(inner instanceof TypeError)) throw inner
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

function refusalOf({ errors }: Jose, error: unknown, header: string): GatewayError {
  if (error instanceof errors.JWTExpired) return invalid(`The user token in '${header}' has expired.`)
  if (error instanceof errors.JWTClaimValidationFailed) {
    return invalid(`The user token in '${header}' has a wrong or missing claim '${error.claim}'.`)
  }
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey) {
    return invalid(`The signature of the user token in '${header}' is not valid.`)
  }
  // A TypeError: a key that is too short for what the token names.
  if (error instanceof errors.JOSEError || error instanceof TypeError) {
    return invalid(`The user token in '${header}' can't be read.`)
  }
  return new GatewayError('The keys for user tokens are not available right now.', {
    status: 503,
    type: 'api_error',
    code: 'user_token_keys_unavailable',
    retryAfterS: 1,
    cause: error instanceof KeysAway ? error.cause : error,
  })
}

const invalid = (message: string) =>
  new GatewayError(message, { status: 401, type: 'authentication_error', code: 'invalid_user_token' })
