/**
 * How long a provider asks to wait, in milliseconds: `retry-after-ms` (OpenAI, Azure), `retry-after` in seconds or as a
 * date (RFC 9110, 10.2.3).
 *
 * @param now Unix milliseconds
 */
export function retryAfterMs(headers: Readonly<Record<string, string>>, now = Date.now()): number | null {
  const ms = number(headers['retry-after-ms'])
  if (ms !== null) return ms
  const value = headers['retry-after']
  const seconds = number(value)
  if (seconds !== null) return seconds * 1000
  // Date.parse takes "-1" for a year.
  const date = value !== undefined && /^[A-Z]/i.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}

function number(value: string | undefined): number | null {
  if (value === undefined || value.trim() === '') return null
  const parsed = Number(value)
  return Number.isFinite(parsed) && parsed >= 0 ? parsed : null
}
