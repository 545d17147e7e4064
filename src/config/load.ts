import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { z } from 'zod'
import type { OwnCertificate } from '../runtime/certificates.ts'
import { crossCheck } from './cross-check.ts'
import { type Config, configSchema } from './schema.ts'
import { readSecrets } from './secrets.ts'
import { checkTlsFiles } from './tls-files.ts'
import { numberOf, type Sources, substitute, truthOf, unsetProblems } from './variables.ts'
import { parseYaml } from './yaml.ts'

/** The configuration can't be used; `problems` has a line for each mistake: path, and what was expected. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: string[]
  /** Files that were read, and those that could not be: another text of theirs may mend it. */
  files: readonly string[] = []

  constructor(file: string, problems: string[]) {
    super(`${file}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`)
    this.problems = problems
  }
}

export interface LoadedConfig {
  config: Config
  /** Files to watch: the configuration, its includes and the files of its secrets. */
  files: string[]
  certificates: OwnCertificate[]
}

/**
 * Reads a YAML configuration, substitutes environment variables (`${VAR}`, `${VAR:-default}`), adds its includes and
 * validates the whole. A variable that is not set and has no default is an error, but for the keys and addresses of
 * providers and the key of the operator: what they belong to is off then.
 *
 * @throws ConfigError
 */
export function loadConfig(path: string, env: NodeJS.ProcessEnv = process.env): LoadedConfig {
  const file = resolve(path)
  const files = [file]
  try {
    return { ...load(file, env, files), files }
  } catch (error) {
    if (error instanceof ConfigError) error.files = files
    throw error
  }
}

/** @param files gets what is read besides `file` */
function load(file: string, env: NodeJS.ProcessEnv, files: string[]): Omit<LoadedConfig, 'files'> {
  const sources: Sources = new WeakMap()
  const root = readPart(file, file, env, sources)
  for (const include of Array.isArray(root.include) ? root.include : []) {
    const included = resolve(dirname(file), String(include))
    files.push(included)
    addPart(root, readPart(file, included, env, sources), file, included, sources)
  }
  const secrets = readSecrets(file, root)
  files.push(...secrets.files)
  if (secrets.problems.length > 0) throw new ConfigError(file, secrets.problems)
  const config = validate(file, root, sources)
  const tls = checkTlsFiles(config)
  files.push(resolve(config.catalogue.file), ...tls.files.map((name) => resolve(name)))
  if (tls.problems.length > 0) throw new ConfigError(file, tls.problems)
  return { config, certificates: tls.certificates }
}

type Part = Record<string, unknown>

/** One file, with the environment's values in it. */
function readPart(config: string, file: string, env: NodeJS.ProcessEnv, sources: Sources): Part {
  const { value, unset, problems } = substitute(readYaml(config, file), env, sources)
  const all = [...problems, ...unsetProblems(unset)]
  if (all.length > 0) throw new ConfigError(file, all)
  return value as Part
}

/** What an included file may hold. */
const INCLUDABLE = ['providers', 'dialects', 'candidates']

/** Adds what a file includes; its own entries win. What is of another shape is left to the validation. */
function addPart(root: Part, more: Part, config: string, file: string, sources: Sources): void {
  const others = Object.keys(more).filter((section) => !INCLUDABLE.includes(section))
  if (others.length > 0) {
    throw new ConfigError(config, [`include: ${file} may hold ${INCLUDABLE.join(', ')} only, not ${others.join(', ')}`])
  }
  for (const section of INCLUDABLE) {
    const [own, included] = [root[section], more[section]]
    if (own === undefined || own === null) {
      if (included !== undefined) root[section] = included
    } else if (Array.isArray(own) && Array.isArray(included)) {
      root[section] = joined([...own, ...included], own, included, (at) => Number(at) + own.length, sources)
    } else if (isMapping(own) && isMapping(included)) {
      root[section] = joined(
        { ...included, ...own },
        own,
        included,
        (key) => (Object.hasOwn(own, key) ? null : key),
        sources,
      )
    } else if (included !== undefined && included !== null) {
      throw new ConfigError(config, [`${section}: this file and ${file} differ in its kind: a list, and a mapping`])
    }
  }
}

/** @param place where in the whole an entry of `included` is; null: it isn't */
function joined<T extends object>(
  whole: T,
  own: object,
  included: object,
  place: (key: PropertyKey) => PropertyKey | null,
  sources: Sources,
): T {
  const names = new Map(sources.get(own))
  for (const [key, name] of sources.get(included) ?? []) {
    const at = place(key)
    if (at !== null) names.set(at, name)
  }
  sources.set(whole, names)
  return whole
}

function validate(file: string, root: Part, sources: Sources): Config {
  const config = parse(file, root, sources)
  const problems = crossCheck(config)
  if (problems.length > 0) throw new ConfigError(file, problems)
  return config
}

/** Parses; texts where numbers or truth values belong are read as such, since all that the environment has is text. */
function parse(file: string, root: Part, sources: Sources): Config {
  for (;;) {
    const parsed = configSchema.safeParse(root)
    if (parsed.success) return parsed.data
    const wrong = typeIssues(parsed.error.issues, [])
    if (!wrong.map(({ path, expected }) => coerceAt(root, path, expected)).includes(true)) {
      throw new ConfigError(
        file,
        parsed.error.issues.map(
          ({ path, message }) =>
            `${path.map(String).join('.') || '(root)'}: ${message}${variableOf(root, path, sources)}`,
        ),
      )
    }
  }
}

/** Names the variable that a wrong value came from, never the value. */
function variableOf(root: Part, path: readonly PropertyKey[], sources: Sources): string {
  const field = path.at(-1)
  const parent = parentOf(root, path)
  const name = field === undefined || parent === undefined ? undefined : sources.get(parent)?.get(field)
  return name === undefined ? '' : ` (from the variable ${name})`
}

function parentOf(root: Part, path: readonly PropertyKey[]): Record<PropertyKey, unknown> | undefined {
  const parent = path.slice(0, -1).reduce<unknown>((node, key) => (node as Record<PropertyKey, unknown>)?.[key], root)
  return typeof parent === 'object' && parent !== null ? (parent as Record<PropertyKey, unknown>) : undefined
}

interface TypeIssue {
  path: PropertyKey[]
  expected: string
}

/** Wrong types; inside a union, of each of its members. */
const typeIssues = (issues: readonly z.core.$ZodIssue[], at: readonly PropertyKey[]): TypeIssue[] =>
  issues.flatMap((issue) => {
    const path = [...at, ...issue.path]
    if (issue.code === 'invalid_union') return issue.errors.flatMap((errors) => typeIssues(errors, path))
    return issue.code === 'invalid_type' ? [{ path, expected: issue.expected }] : []
  })

/** @returns whether the value is another now */
function coerceAt(root: Part, path: readonly PropertyKey[], expected: string): boolean {
  const field = path.at(-1)
  const values = parentOf(root, path)
  if (field === undefined || values === undefined) return false
  const text = values[field]
  if (typeof text !== 'string') return false
  const value = expected === 'number' ? numberOf(text) : expected === 'boolean' ? truthOf(text) : undefined
  if (value === undefined) return false
  values[field] = value
  return true
}

/** @param config named in errors, where `file` is one that it includes */
function readYaml(config: string, file: string): Part {
  const text = readText(config, file)
  // An editor that truncates before it writes leaves it so for a moment.
  if (text.trim() === '') throw new ConfigError(file, ['is empty'])
  const { value, problem } = parseYaml(text)
  if (problem !== undefined) throw new ConfigError(file, [problem])
  if (value === null || value === undefined) return {}
  if (!isMapping(value)) throw new ConfigError(file, ['expected a mapping: `section: …`'])
  return { ...value }
}

function readText(config: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    if (file === config) throw new ConfigError(config, [`can't be read: ${code}`])
    throw new ConfigError(config, [`include: ${file} can't be read: ${code}`])
  }
}

const isMapping = (value: unknown): value is Part =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
