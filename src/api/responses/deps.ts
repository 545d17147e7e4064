import type { Seal } from '../../runtime/seal.ts'
import type { Responses } from '../../store/responses.ts'
import type { UnreadableThoughts } from './unreadable.ts'

/** What the endpoint uses of the gateway. */
export interface ResponsesDeps {
  responses: Responses
  seal: Seal
  unreadable: UnreadableThoughts
  /** Whether a user has been erased since. */
  isErased(tenant: string, user: string, ts: number): boolean
  onStoreError(call: string): void
}
