import { UnsupportedRequest } from '../../../errors.ts'

/** A field that the Messages API has no counterpart for. */
export const unsupported = (what: string, param: string) =>
  new UnsupportedRequest(`Anthropic models do not support ${what}.`, param)

/** A field that can't be read. */
export const malformed = (what: string, param: string) => new UnsupportedRequest(`Invalid '${param}': ${what}.`, param)
