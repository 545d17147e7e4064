// What the pages ask the gateway for. A session that has ended shows the login again.

/** Called when the session has ended. */
let onEnd = () => undefined
export const whenSessionEnds = (listener) => {
  onEnd = listener
}

export class Refused extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/**
 * @param {string} path below `/console/api`
 * @param {{ method?: string, body?: unknown, headers?: Record<string, string> }} [options]
 */
export async function ask(path, { method = 'GET', body, headers = {} } = {}) {
  const response = await fetch(`/console/api/${path}`, {
    method,
    credentials: 'same-origin',
    headers: {
      'x-console': '1',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const json = parsed(text)
  if (!response.ok) {
    if (response.status === 401 && path !== 'session') onEnd()
    throw new Refused(response.status, json?.error?.message ?? `The gateway answered ${response.status}.`)
  }
  return { json, headers: response.headers }
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

export const query = (fields) => new URLSearchParams(fields).toString()
