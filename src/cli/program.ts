import { readFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { addArchive } from './commands/archive.ts'
import { addArtifact } from './commands/artifact.ts'
import { addBackup } from './commands/backup.ts'
import { addCatalogue } from './commands/catalogue.ts'
import { addConfig } from './commands/config.ts'
import { addExplain } from './commands/explain.ts'
import { addKeys } from './commands/keys.ts'
import { addLog } from './commands/log.ts'
import { addMode } from './commands/mode.ts'
import { addTenants } from './commands/tenants.ts'
import { addUsage } from './commands/usage.ts'
import { CONFIG_VARIABLE, DEFAULT_CONFIG } from './plain-serve.ts'

/**
 * The operator's command line; a group of commands is a file in `commands/`.
 *
 * @param serve starts the gateway
 */
export function createProgram(serve: (configPath: string) => Promise<void>): Command {
  const program = new Command('persona-router')
    .description('An OpenAI-compatible gateway that learns, per user, which LLM that user would have picked.')
    .version(version())
    .addOption(new Option('-c, --config <file>', 'configuration file').env(CONFIG_VARIABLE).default(DEFAULT_CONFIG))
  const configPath = () => program.opts<{ config: string }>().config

  program
    .command('serve')
    .description('start the gateway')
    .action(() => serve(configPath()))
  addKeys(program, configPath)
  addConfig(program, configPath)
  addArtifact(program)
  addCatalogue(program, configPath)
  addExplain(program)
  addLog(program, configPath)
  addArchive(program, configPath)
  addBackup(program, configPath)
  addTenants(program, configPath)
  addMode(program, configPath)
  addUsage(program, configPath)
  return program
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return version
}
