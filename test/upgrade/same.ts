import { isDeepStrictEqual } from 'node:util'

/** Scores come from single-precision arithmetic, on other machines and from rows that may be kept in fewer bits. */
const RELATIVE = 2e-3
const ABSOLUTE = 2e-4

/**
 * Where what is said now is not what was said before, as lines `path: before -> now`. More may be said; numbers that
 * are not whole may differ a little.
 */
export function differences(before: unknown, now: unknown, path = ''): string[] {
  if (typeof before === 'number' && typeof now === 'number' && !Number.isInteger(before)) {
    const isNear = Math.abs(before - now) <= ABSOLUTE + RELATIVE * Math.abs(before)
    return isNear ? [] : [`${path}: ${before} -> ${now}`]
  }
  if (Array.isArray(before) && Array.isArray(now)) {
    if (before.length !== now.length) return [`${path}: ${before.length} -> ${now.length} entries`]
    return before.flatMap((item, i) => differences(item, now[i], `${path}[${i}]`))
  }
  if (isObject(before) && isObject(now)) {
    return Object.entries(before).flatMap(([key, item]) => differences(item, now[key], `${path}.${key}`))
  }
  return isDeepStrictEqual(before, now) ? [] : [`${path}: ${JSON.stringify(before)} -> ${JSON.stringify(now)}`]
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
