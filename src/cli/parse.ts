import { InvalidArgumentError } from 'commander'

const DAY_MS = 86_400_000

/** Days from now, or a date. @returns Unix milliseconds */
export function parseExpiry(text: string): number {
  return /^\d+(\.\d+)?$/.test(text) ? Date.now() + Number(text) * DAY_MS : parseDate(text)
}

/** Days ago (`7`, `7d`), or a date. @returns Unix milliseconds */
export function parsePast(text: string): number {
  const [, days] = /^(\d+(?:\.\d+)?)d?$/.exec(text) ?? []
  return days === undefined ? parseDate(text) : Date.now() - Number(days) * DAY_MS
}

function parseDate(text: string): number {
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new InvalidArgumentError('Expected a number of days or a date such as 2026-12-31.')
  return time
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
