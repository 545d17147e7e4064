import type { Command } from 'commander'
import { adminUsage } from '../../api/usage.ts'
import { resolveTenants } from '../../candidates/tenants.ts'
import { GatewayError } from '../../errors.ts'
import { fail } from '../fail.ts'
import { plain } from '../plain.ts'
import { checkTenant, withStore } from '../with-store.ts'

interface UsageOptions {
  tenant?: string
  from?: string
  to?: string
  by?: string
  json?: boolean
}

/** `usage`: what was used and spent. */
export function addUsage(program: Command, configPath: () => string): void {
  program
    .command('usage')
    .description('what tenants have used and spent, by UTC days')
    .option('--tenant <name>', 'of this tenant only')
    .option('--from <day>', 'first day, such as 2026-11-01; thirty days back where left out')
    .option('--to <day>', 'last day; today where left out')
    .option('--by <names>', 'day, model, key or user, comma-separated', 'model')
    .option('--json', 'as JSON lines')
    .action(async ({ tenant, from, to, by, json }: UsageOptions) => {
      const { withFormerNames } = await import('../../learning/former-names.ts')
      await withStore(configPath(), async (opened, config) => {
        checkTenant(config, tenant)
        const store = withFormerNames(opened, () => config)
        const tenants = resolveTenants(config, [])
        const { data, missing } = await adminUsage(
          { store, snapshot: () => ({ tenants }) },
          { tenant, from, to, by },
        ).catch((error: unknown) => {
          if (error instanceof GatewayError) fail(error.message)
          throw error
        })
        for (const row of data) process.stdout.write(`${json ? JSON.stringify(row) : line(row)}\n`)
        for (const { tenant: name, reason } of missing ?? []) process.stderr.write(`Missing: ${name}: ${reason}\n`)
        if (data.length === 0) process.stderr.write('Nothing was used in that time.\n')
      })
    })
}

const line = ({ requests, prompt_tokens, completion_tokens, usd, ...names }: Record<string, unknown>) =>
  [
    ...Object.values(names).map((name) => plain(String(name))),
    requests,
    prompt_tokens,
    completion_tokens,
    `$${Number(usd).toFixed(6)}`,
  ].join('\t')
