import type { Command } from 'commander'
import { fail } from '../fail.ts'
import { withStore } from '../with-store.ts'

/** `tenants`: whole tenants, also those that are no longer configured. */
export function addTenants(program: Command, configPath: () => string): void {
  const tenants = program.command('tenants').description('whole tenants, as kept in the store')

  tenants
    .command('erase <tenant>')
    .description('erase all that is kept of a tenant: keys, users, log, responses, evidence; it cannot be undone')
    .option('--yes', 'do it')
    .action(async (tenant: string, { yes }: { yes?: boolean }) => {
      await withStore(configPath(), async (store, config) => {
        await store.ping()
        if (!yes) fail(`This erases all that is kept of tenant '${tenant}'. Say --yes to do it.`)
        const gone = await store.eraseTenant(tenant)
        if (gone === 0) fail(`Nothing is kept of a tenant '${tenant}'.`)
        process.stdout.write(`Erased tenant '${tenant}': ${gone} entries.\n`)
        if (config.tenants.some(({ name }) => name === tenant)) {
          process.stderr.write('It is still configured: what comes with its keys from now on is kept again.\n')
        }
      })
    })
}
