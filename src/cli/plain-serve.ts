/** As `program.ts` has it. */
export const DEFAULT_CONFIG = 'config/gateway.yaml'
export const CONFIG_VARIABLE = 'PERSONA_ROUTER_CONFIG'

/**
 * Where the command line asks for nothing but to serve, the configuration file: such a start need not load the other
 * commands, and what reads their options (30 ms and 10 MB). Null for all else, which `program.ts` reads.
 */
export function plainServe(args: readonly string[], env: NodeJS.ProcessEnv = process.env): string | null {
  const [command, ...rest] = args[0] === 'serve' ? args : [...args.slice(2), ...args.slice(0, 2)]
  if (command !== 'serve') return null
  if (rest.length === 0) return env[CONFIG_VARIABLE] ?? DEFAULT_CONFIG
  const [option = '', file = ''] = rest
  const isFile = rest.length === 2 && ['-c', '--config'].includes(option) && file !== '' && !file.startsWith('-')
  return isFile ? file : null
}
