/** Sums that are read when they are asked for: no replica has a copy that others must tell of changes. */
const READ_WHEN_ASKED = ['arms:', 'certificate:', 'forgotten:', 'ghost']

/** Whether replicas serve requests by copies of it. */
export const isServedFrom = (key: string): boolean => !READ_WHEN_ASKED.some((prefix) => key.startsWith(prefix))

/**
 * Sums and more, as `Store.addEvidence` adds them (and `add-evidence.lua` does).
 *
 * @param halfLifeDays the last number is a day: what is older fades to the later one; undefined: nothing fades
 * @throws Error where they differ in length
 */
export function plus(sums: Float32Array, added: Float32Array, halfLifeDays: number | undefined): Float32Array {
  if (sums.length !== added.length) throw new Error(`Evidence of ${sums.length} numbers, message of ${added.length}`)
  if (halfLifeDays === undefined) return sums.map((value, i) => value + added[i]!)
  const last = sums.length - 1
  const days = added[last]! - sums[last]!
  const kept = 0.5 ** (Math.max(0, days) / halfLifeDays)
  const fresh = 0.5 ** (Math.max(0, -days) / halfLifeDays)
  return sums.map((value, i) => (i === last ? Math.max(value, added[i]!) : kept * value + fresh * added[i]!))
}
