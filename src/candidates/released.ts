import { DATE } from './candidate.ts'

const DAYS = 30.44
const MONTHS = 12

/**
 * The year of a date, with its fraction: 2026-07-01 is 2026.5, and a month its middle. router-model's `years` computes
 * the same.
 *
 * @returns undefined for whatever is no such date
 */
export function yearOf(date: string | undefined): number | undefined {
  if (date === undefined || !DATE.test(date)) return undefined
  const [year, month, day = 15] = date.split('-').map(Number) as [number, number, number?]
  return Math.round((year + (month - 1 + (day - 1) / DAYS) / MONTHS) * 1000) / 1000
}
