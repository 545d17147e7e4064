import type { Api } from '../../candidates/candidate.ts'
import { type ChooseInput, choose, NoCandidateError, type Selection } from './choose.ts'

/**
 * As `choose`, among the candidates whose provider speaks a format itself, where one of them fits: they alone can do
 * all that is asked in it. The others are tried after them. A model that waits for its tool's result is left to go on.
 *
 * @throws NoCandidateError when the filters leave none
 */
export function choosePreferring(prefers: Api | undefined, input: ChooseInput): Selection {
  const able = prefers ? input.scores.filter(({ candidate }) => candidate.apis?.has(prefers)) : []
  const isSettled = input.explicit !== null || input.previous?.toolLoop === true
  if (able.length === 0 || able.length === input.scores.length || isSettled) return choose(input)
  let first: Selection
  try {
    first = choose({ ...input, scores: able })
  } catch (error) {
    if (error instanceof NoCandidateError) return choose(input)
    throw error
  }
  const all = choose(input)
  const rest = all.ranking.filter((candidate) => !first.ranking.includes(candidate))
  const passed = rest.map(({ name }) => ({
    candidate: name,
    why: 'capability' as const,
    detail: `can not do all that is asked: its provider has no ${prefers} endpoint`,
  }))
  return { ...first, ranking: [...first.ranking, ...rest], excluded: [...all.excluded, ...passed] }
}
