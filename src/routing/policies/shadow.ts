import type { Candidate } from '../../candidates/candidate.ts'
import type { RouterConfig } from '../../config/schema.ts'
import type { UserProfile } from '../../learning/profile.ts'
import type { InteractionRecord } from '../../store/records/codec.ts'
import { scoredCandidates } from '../../store/records/scored-candidates.ts'
import type { Start } from '../artifact/manifest.ts'
import { type ChooseInput, choose } from '../choose/choose.ts'
import type { Speaker } from '../choose/evidence.ts'
import { cautionFor, type Policy } from '../policy.ts'

export interface ShadowQuery {
  tenant: string
  user: string
  speaker: Speaker
  /** The text that was embedded for the live policy. */
  text: string
  /** See `RouteQuery`. */
  tools?: number
  promptTokens: number
  costWeight?: number
  taste?: Start
  /** Name of the baseline. */
  baseline?: string
}

/** The user as the shadow policy sees them. */
type GetProfile = (policy: Policy, tenant: string, user: string) => UserProfile | Promise<UserProfile>

/**
 * The selection that a shadow policy would have made, for the record. Never fails: null where there is none.
 *
 * @param input as given to `choose` for the live policy, without what depends on the policy
 * @param rule how cautious to be; the shadow's own doubts decide
 */
export async function askShadow(
  shadow: Policy,
  getProfile: GetProfile,
  { tenant, user, speaker, text, tools, promptTokens, costWeight, taste, baseline }: ShadowQuery,
  candidates: readonly Candidate[],
  input: Omit<ChooseInput, 'scores' | 'by' | 'rewards' | 'baseline'>,
  rule: Pick<RouterConfig, 'caution' | 'risk'>,
): Promise<InteractionRecord['shadow'] | null> {
  try {
    const [{ state, rewards }, embedding] = await Promise.all([
      getProfile(shadow, tenant, user),
      shadow.embedder.embed(text),
    ])
    const asked = {
      ...(tools && { tools }),
      ...(costWeight !== undefined && { costWeight }),
      ...(taste && { taste }),
      ...(baseline !== undefined && { baseline }),
    }
    const query = { tenant, speaker, embedding, promptTokens, state, ...asked }
    const scores = await shadow.router.score(query, candidates)
    const caution = costWeight === undefined ? await cautionFor(shadow, rule, query, candidates) : rule.caution
    const policy = { ...input.policy, caution }
    const { scored, propensities } = choose({ ...input, policy, scores, by: 'graph', rewards, baseline: null })
    return { policy: shadow.version, candidates: scoredCandidates(scored, propensities, true) }
  } catch {
    return null
  }
}
