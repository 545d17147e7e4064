interface Renamed {
  name: string
  formerly?: readonly string[] | undefined
}

/** By former names of candidates, what they are called now. */
export type PresentNames = ReadonlyMap<string, string>

export const presentNames = (candidates: readonly Renamed[]): PresentNames =>
  new Map(candidates.flatMap(({ name, formerly = [] }) => formerly.map((old) => [old, name] as const)))

/** A list of names names it, by the present one or a former one. */
export const isNamed = ({ name, formerly }: Renamed, names: readonly string[]): boolean =>
  names.includes(name) || (formerly?.some((old) => names.includes(old)) ?? false)

/** A candidate by its name, or by one that it had; who has the name now comes first. */
export const candidateNamed = <C extends Renamed>(candidates: readonly C[], wanted: string): C | undefined =>
  candidates.find(({ name }) => name === wanted) ?? candidates.find(({ formerly }) => formerly?.includes(wanted))
