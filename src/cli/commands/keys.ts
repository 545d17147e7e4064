import type { Command } from 'commander'
import { makeKey } from '../../candidates/keys.ts'
import { keyProblem } from '../../candidates/new-key.ts'
import { SCOPES, type Scope, scopesOf } from '../../candidates/scopes.ts'
import { fail } from '../fail.ts'
import { parseExpiry, parseList } from '../parse.ts'
import { plain } from '../plain.ts'
import { checkTenant, withStore } from '../with-store.ts'

interface NewKeyOptions {
  tenant: string
  name: string
  expires?: number
  models?: string[]
  user?: string
  scopes?: string[]
}

/** `keys`: tenant keys, as kept in the store. */
export function addKeys(program: Command, configPath: () => string): void {
  const keys = program.command('keys').description('tenant keys, as kept in the store')

  keys
    .command('create')
    .description('make a key; it is shown this once')
    .requiredOption('--tenant <name>', 'whose key')
    .option('--name <name>', 'what it is for', '')
    .option('--expires <when>', 'days from now (e.g. 90), or a date', parseExpiry)
    .option('--models <names>', 'candidates or groups it may use, comma-separated', parseList)
    .option('--user <id>', 'the user whose key it is: whatever else names a user is not looked at')
    .option('--scopes <names>', `what it may be used for, comma-separated: ${SCOPES.join(', ')}`, parseList)
    .action(async (options: NewKeyOptions) => {
      await withStore(configPath(), async (store, config) => {
        const wanted = {
          tenant: options.tenant,
          name: options.name,
          expiresAt: options.expires ?? null,
          models: options.models ?? null,
          user: options.user ?? null,
          scopes: (options.scopes as Scope[] | undefined) ?? null,
        }
        const problem = keyProblem(config, wanted, Date.now())
        if (problem) fail(problem.message)
        const { secret, record } = makeKey(wanted)
        await store.createKey(record)
        process.stderr.write(`Key ${record.id} of tenant '${record.tenant}'. It is shown only now:\n`)
        process.stdout.write(`${secret}\n`)
      })
    })

  keys
    .command('list')
    .option('--tenant <name>', 'of this tenant only')
    .option('--json', 'as JSON lines')
    .action(async (options: { tenant?: string; json?: boolean }) => {
      await withStore(configPath(), async (store, config) => {
        checkTenant(config, options.tenant)
        const now = Date.now()
        for (const key of await store.listKeys(options.tenant)) {
          const state =
            key.revokedAt !== null ? 'revoked' : key.expiresAt !== null && key.expiresAt <= now ? 'expired' : 'active'
          const { hash: _, ...shown } = key
          const line = options.json
            ? JSON.stringify({ ...shown, state })
            : [
                key.id,
                key.tenant,
                `${key.prefix}…`,
                state.padEnd(7),
                new Date(key.createdAt).toISOString().slice(0, 10),
                key.models?.join(',') ?? '*',
                plain(key.user ?? '-'),
                scopesOf({ scopes: key.scopes, ...(key.user !== null && { user: key.user }) }).join(','),
                plain(key.name),
              ].join('  ')
          process.stdout.write(`${line}\n`)
        }
      })
    })

  keys
    .command('revoke <id>')
    .description('a revoked key is refused by every process within five seconds')
    .action(async (id: string) => {
      await withStore(configPath(), async (store) => {
        if (!(await store.revokeKey(id, Date.now()))) fail(`There is no key '${id}'.`)
        process.stdout.write(`Revoked ${id}.\n`)
      })
    })
}
