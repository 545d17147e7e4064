import { Argument, type Command } from 'commander'
import type { Config } from '../../config/schema.ts'
import { fail } from '../fail.ts'
import { checkTenant, withStore } from '../with-store.ts'

const MODES = ['observe', 'assist', 'route'] as const
type Mode = (typeof MODES)[number]

/** `mode`: how far a tenant's router is let, switched while gateways run. */
export function addMode(program: Command, configPath: () => string): void {
  program
    .command('mode')
    .description('how far the router is let; switched for every process within five seconds')
    .addArgument(
      new Argument('[mode]', '"configured" takes back what was switched; without one, show it').choices([
        ...MODES,
        'configured',
      ]),
    )
    .requiredOption('--tenant <name>', 'whose requests')
    .action(async (mode: Mode | 'configured' | undefined, { tenant }: { tenant: string }) => {
      await withStore(configPath(), async (store, config) => {
        checkTenant(config, tenant)
        const { baseline, mode: configured } = configuredFor(config, tenant)
        if (mode !== undefined && mode !== 'configured' && baseline === undefined) {
          fail(`Tenant '${tenant}' has no baseline to compare with: set router.baseline, or its own.`)
        }
        if (mode !== undefined) await store.saveMode(tenant, mode === 'configured' ? null : mode)
        const switched = await store.loadMode(tenant)
        process.stdout.write(`${switched ?? configured}${switched === null ? ' (as configured)' : ' (switched)'}\n`)
      })
    })
}

function configuredFor({ router, tenants }: Config, name: string) {
  const tenant = tenants.find((one) => one.name === name)
  return { baseline: tenant?.baseline ?? router.baseline, mode: tenant?.mode ?? router.mode }
}
