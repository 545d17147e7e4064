/** A value that tells nothing, in an answer: an object, or a list, of nothing but such values, too. A line end is said. */
export const isBlank = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === false ||
  value === '' ||
  (typeof value === 'object' && Object.values(value).every(isBlank))
