import type { Command } from 'commander'
import { loadConfig } from '../../config/load.ts'

/** `catalogue`: prices, windows and abilities of public models. */
export function addCatalogue(program: Command, configPath: () => string): void {
  const catalogue = program.command('catalogue').description('prices and abilities of public models')

  catalogue
    .command('update')
    .description('fetch the newest catalogue; a running gateway takes it in')
    .option('--from <source>', 'address or file, in the format of models.dev; default: catalogue.source')
    .action(async ({ from }: { from?: string }) => {
      const { updateCatalogue } = await import('../catalogue-update.ts')
      const { config } = loadConfig(configPath())
      process.stdout.write(await updateCatalogue(config, from))
    })

  catalogue
    .command('show')
    .description('which catalogue is in use, and what it says of the configured candidates')
    .action(async () => {
      const { describePrices } = await import('../catalogue-update.ts')
      process.stdout.write(describePrices(loadConfig(configPath()).config))
    })
}
