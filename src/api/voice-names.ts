import type { Snapshot } from '../config/snapshot.ts'
import { isJudge, slotOf } from '../routing/choose/evidence.ts'
import type { Store } from '../store/store.ts'

/** A voice as an operator sees it: a slot, which several may share. */
export interface NamedVoice {
  voice: 'judge' | 'key' | 'vouched users'
  /** Ids of the keys in that slot; of the judge, of those whose answers it judged. */
  keys?: string[]
}

/** How a tenant's voices are told. @throws StoreError */
export async function voiceNames(
  { config }: Snapshot,
  store: Pick<Store, 'listKeys'>,
  tenant: string,
): Promise<(voice: string) => NamedVoice> {
  const configured = config.tenants.find(({ name }) => name === tenant)?.keys ?? []
  const kept = (await store.listKeys(tenant)).map(({ id }) => id)
  const ids = [...kept, ...configured.map((_, i) => `config-${tenant}-${i}`)]
  return (voice) => ({
    voice: isJudge(voice) ? 'judge' : voice.startsWith('u') ? 'vouched users' : 'key',
    ...(/^j?k/.test(voice) && { keys: ids.filter((id) => voice.endsWith(`k${slotOf(id)}`)) }),
  })
}
