import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { type Config, configSchema } from './schema.ts'

/**
 * Changed settings that a reload can't apply: those whose schema says `.meta({ restart: true })`.
 *
 * @param started the configuration that the process started with
 * @returns paths, no values: they may be secrets
 */
export function restartNeeded(started: Config, next: Config): string[] {
  return restartPaths(configSchema)
    .filter((path) => !isDeepStrictEqual(valueAt(asRead(started), path), valueAt(asRead(next), path)))
    .map((path) => path.join('.'))
}

/** Without what is read again while the process runs: Redis' password, where it lies in a file. */
function asRead(config: Config): Config {
  const { store } = config
  if (store.kind !== 'redis' || store.password_file === undefined) return config
  const { password: _, ...rest } = store
  return { ...config, store: rest }
}

/** Paths of the settings that are read once, when the process starts. */
export function restartPaths(schema: z.core.$ZodType): string[][] {
  for (let layer: z.core.$ZodType | undefined = schema; layer; layer = innerOf(layer)) {
    if (z.globalRegistry.get(layer)?.restart) return [[]]
    if (layer instanceof z.ZodObject) {
      return Object.entries(layer.shape).flatMap(([field, inner]) =>
        restartPaths(inner as z.core.$ZodType).map((path) => [field, ...path]),
      )
    }
  }
  return []
}

/** The schema inside a default or an optional. */
const innerOf = (schema: z.core.$ZodType): z.core.$ZodType | undefined =>
  schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional
    ? schema.def.innerType
    : undefined

const valueAt = (config: Config, path: readonly string[]): unknown =>
  path.reduce<unknown>((value, field) => (value as Record<string, unknown> | undefined)?.[field], config)
