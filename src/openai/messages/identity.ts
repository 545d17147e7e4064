import { isObject } from '../is-object.ts'

/** Whom a request names, and which conversation. */
export interface Named {
  user?: string
  conversation?: string
}

/** `user_<hash>_account_<uuid>_session_<uuid>`; the account is empty where nobody is logged in. */
const JOINED = /^user_[0-9a-f]*_account_([0-9a-f-]*)_session_([0-9a-f-]+)$/i

/**
 * What `metadata.user_id` says. Claude Code puts account and session into it, as one string or as JSON: whole, every
 * session would be a user. Its account alone names a user; other values are a user's id as they are.
 */
export function namedBy(userId: string | null | undefined): Named {
  if (!userId) return {}
  const joined = JOINED.exec(userId)
  if (joined) return named(joined[1], joined[2])
  if (!userId.startsWith('{')) return { user: userId }
  try {
    const json: unknown = JSON.parse(userId)
    if (isObject(json) && 'session_id' in json) return named(json.account_uuid, json.session_id)
  } catch {
    // An id that only looks like JSON.
  }
  return { user: userId }
}

const named = (user: unknown, conversation: unknown): Named => ({
  ...(typeof user === 'string' && user !== '' && { user }),
  ...(typeof conversation === 'string' && conversation !== '' && { conversation }),
})
