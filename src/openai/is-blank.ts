/** A value that tells nothing, in an answer; also an object, or a list, of such values alone. A line end is said. */
export const isBlank = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === false ||
  value === '' ||
  (typeof value === 'object' && Object.values(value).every(isBlank))
