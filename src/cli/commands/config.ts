import type { Command } from 'commander'
import { loadConfig } from '../../config/load.ts'
import { configJsonSchema } from '../../config/schema.ts'

/** `config check` and `config schema`. */
export function addConfig(program: Command, configPath: () => string): void {
  const config = program.command('config').description('the configuration')

  config
    .command('check')
    .description('validate the configuration, includes and variables; tell what is off, and why')
    .option('--probe', 'ask each provider, and the store for keys: a few tokens a provider')
    .action(async ({ probe = false }: { probe?: boolean }) => {
      const { configReport } = await import('../config-report.ts')
      const { text, isGood } = await configReport(loadConfig(configPath()), { probe })
      process.stdout.write(text)
      if (!isGood) process.exitCode = 1
    })

  config
    .command('schema')
    .description('print the JSON schema, for editors')
    .action(() => {
      process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
    })
}
