/** When a request got its id (`pipeline/request-ids.ts`), Unix milliseconds, as far as its form says; else null. */
export function requestTimeOf(id: string): number | null {
  const [, high = '', low = ''] = ID.exec(id) ?? []
  return high === '' ? null : Number.parseInt(high + low, 16)
}

const ID = /^req_([0-9a-f]{8})-([0-9a-f]{4})-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
