import { Tensor } from '../../runtime/onnxruntime.ts'
import type { Dims } from '../artifact/manifest.ts'
import type { Graph } from '../artifact/types.ts'

/** What `user.onnx` says of one user; artifacts from before there were kinds of people give two empty vectors. */
export interface UserBelief {
  /** [S] */
  state: Float32Array
  /** [J]: how probable each kind of people is. */
  people: Float32Array
  /** [Y]: what they tell of their tenant. */
  told: Float32Array
}

const NOTHING = new Float32Array(0)

/**
 * @param sums of the user's messages, [H]
 * @param tenant what users of the same tenant told, [Y]
 */
export async function runUser(
  user: Graph,
  dims: Pick<Dims, 'H' | 'Y'>,
  sums: Float32Array,
  tenant: Float32Array = new Float32Array(dims.Y),
): Promise<UserBelief> {
  const { state, people, tenant_message } = await user.run(userFeeds(sums, tenant, 1, dims))
  return {
    state: state?.data as Float32Array,
    people: (people?.data as Float32Array | undefined) ?? NOTHING,
    told: (tenant_message?.data as Float32Array | undefined) ?? NOTHING,
  }
}

/** Inputs for so many users of one tenant; `sums` are theirs, one after the other. */
export function userFeeds(
  sums: Float32Array,
  tenant: Float32Array,
  users: number,
  { H, Y }: Pick<Dims, 'H' | 'Y'>,
): Record<string, Tensor> {
  const of = { sums: new Tensor('float32', sums, [users, H]) }
  if (Y === 0) return of
  const rows = new Float32Array(users * Y)
  for (let user = 0; user < users; user++) rows.set(tenant, user * Y)
  return { ...of, tenant: new Tensor('float32', rows, [users, Y]) }
}
