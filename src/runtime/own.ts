/** What a record itself holds under a key that somebody else has chosen: not what every object has (`constructor`). */
export const ownOf = <T>(record: Readonly<Record<string, T>> | undefined, key: string): T | undefined =>
  record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined
