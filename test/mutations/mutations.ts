import { ADMISSION } from './admission.ts'
import { BEHIND_THE_KEY } from './behind-the-key.ts'
import { EVIDENCE } from './evidence.ts'
import { BODIES, IDENTITY } from './identity.ts'
import type { Mutation } from './lane.ts'
import { QUOTA } from './quota.ts'
import { STORE } from './store.ts'
import { WIRE } from './wire.ts'

/** Deliberate mistakes in lines that matter: each must be noticed by the tests that it names. */
export const MUTATIONS: readonly Mutation[] = [
  ...QUOTA,
  ...STORE,
  ...IDENTITY,
  ...BODIES,
  ...EVIDENCE,
  ...ADMISSION,
  ...WIRE,
  ...BEHIND_THE_KEY,
]

/** Those that `npm test` makes: of quick tests, one of each part. */
export const SHORT: readonly Mutation[] = [QUOTA[0], IDENTITY[0], BODIES[0], EVIDENCE[0]].filter(
  (one) => one !== undefined,
)
