export interface BaseUrl {
  origin: string
  /** Without a slash at its end. */
  path: string
  /** With its question mark, or empty. */
  query: string
}

/** Splits a configured address; a string is the reason why it can't be used. */
export function baseUrl(url: string, query: Readonly<Record<string, string>> = {}): BaseUrl | string {
  if (url === '') return 'its base_url is not set'
  if (!URL.canParse(url)) return 'its base_url is not a URL'
  const { protocol, username, password, origin, pathname, searchParams } = new URL(url)
  if (protocol !== 'http:' && protocol !== 'https:') return 'its base_url is neither http nor https'
  if (username || password) return 'its base_url holds credentials: use api_key'
  const all = new URLSearchParams([...searchParams, ...Object.entries(query)]).toString()
  return { origin, path: pathname.replace(/\/+$/, ''), query: all === '' ? '' : `?${all}` }
}
