import { InvalidArgumentError } from 'commander'

const DAY_MS = 86_400_000

/** Days from now (`90`, `90d`), or a date. @returns Unix milliseconds */
export function parseExpiry(text: string): number {
  const days = daysIn(text)
  return days === null ? parseDate(text) : Date.now() + days * DAY_MS
}

/** Days ago (`7`, `7d`), or a date. @returns Unix milliseconds */
export function parsePast(text: string): number {
  const days = daysIn(text)
  return days === null ? parseDate(text) : Date.now() - days * DAY_MS
}

function daysIn(text: string): number | null {
  const [, days] = /^(\d+(?:\.\d+)?)d?$/.exec(text) ?? []
  return days === undefined ? null : Number(days)
}

const DATE = /^(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?)?$/

/** No other form: to `Date.parse` `-3` is a day of March 2001, `90 days` one of 1990, and 30 February 2 March. */
function parseDate(text: string): number {
  const [, day] = DATE.exec(text) ?? []
  const time = day === undefined || !isDay(day) ? Number.NaN : Date.parse(text)
  if (Number.isNaN(time)) throw new InvalidArgumentError('Expected a number of days or a date such as 2026-12-31.')
  return time
}

function isDay(day: string): boolean {
  const time = Date.parse(day)
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(day)
}

/** Comma-separated. */
export function parseList(text: string): string[] {
  const list = text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
  if (list.length === 0) throw new InvalidArgumentError('Expected names, separated by commas.')
  return list
}

/** A path on this machine: of an address, a directory of its name would be made. */
export function parseDirectory(text: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return text
  throw new InvalidArgumentError('Expected a directory; of a bucket, copy it from there or to there.')
}

/** Address of a gateway: http or https. */
export function parseUrl(text: string): URL {
  if (!URL.canParse(text)) throw new InvalidArgumentError('Expected an address such as http://127.0.0.1:8787.')
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new InvalidArgumentError('Expected an address that begins with http:// or https://.')
  }
  return url
}
