import { setFlagsFromString } from 'node:v8'

/** Before there is anything to optimise or to collect. What each of them is worth is told in docs/profile.md. */
export function tuneEngine(): void {
  // V8 would allocate objects that it expects to live long in its old space. Dead there, they still keep alive the
  // objects that they refer to, here the next requests.
  setFlagsFromString('--no-allocation-site-pretenuring')
  // Most of a request's code runs a few times a request: by default V8 optimises it after 3,000 calls, so that the
  // first ten thousand requests pay for it.
  setFlagsFromString('--invocation-count-for-turbofan=500')
  // Optimised code holds the classes of objects that it was made for weakly: after two full collections while no
  // request is in work it would be thrown away with them, and all of it compiled again by the next requests. Classes
  // in optimised code alone are kept, so that no request can add to them.
  setFlagsFromString('--retain-maps-for-n-gc=1000')
  // The collection some seconds after a busy time would throw it away at once; memory goes back when a whole minute
  // had no request (`idle.ts`), as does the code.
  setFlagsFromString('--no-memory-reducer-favors-memory')
}
