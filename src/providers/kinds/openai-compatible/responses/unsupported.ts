import { UnsupportedRequest } from '../../../../errors.ts'

/** What the Responses API has no counterpart for. */
export const unsupported = (what: string, param: string) =>
  new UnsupportedRequest(`Models that are asked by the Responses API do not support ${what}.`, param)
