/** What some servers put into every chunk of an answer that goes on. */
const GOES_ON = new Set(['', 'null', 'none', 'undefined'])

/** A finish reason that is one, or null: an empty one, or the word for none, ends nothing. */
export const endOf = (reason: unknown): string | null =>
  typeof reason === 'string' && !GOES_ON.has(reason.trim().toLowerCase()) ? reason : null
