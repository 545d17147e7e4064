import { Command, InvalidArgumentError, Option } from 'commander'
import { makeKey } from '../candidates/keys.ts'
import { keyProblem } from '../candidates/new-key.ts'
import { ConfigError, loadConfig, unknownNames } from '../config/load.ts'
import { type Config, configJsonSchema } from '../config/schema.ts'
import type { Store } from '../store/store.ts'

const DAY_MS = 86_400_000

const program = new Command('persona-router')
  .description('An OpenAI-compatible gateway that learns, per user, which LLM that user would have picked.')
  .addOption(
    new Option('-c, --config <file>', 'configuration file').env('PERSONA_ROUTER_CONFIG').default('config/gateway.yaml'),
  )

const configPath = () => program.opts<{ config: string }>().config

program
  .command('serve')
  .description('start the gateway')
  .action(async () => {
    const { serve } = await import('../main.ts')
    await serve(configPath())
  })

const keys = program.command('keys').description('tenant keys, as kept in the store')

keys
  .command('create')
  .description('make a key; it is shown this once')
  .requiredOption('--tenant <name>', 'whose key')
  .option('--name <name>', 'what it is for', '')
  .option('--expires <when>', 'days from now (e.g. 90), or a date', parseExpiry)
  .option('--models <names>', 'candidates or groups it may use, comma-separated', parseList)
  .action(async (options: { tenant: string; name: string; expires?: number; models?: string[] }) => {
    await withStore(async (store, config) => {
      const wanted = {
        tenant: options.tenant,
        name: options.name,
        expiresAt: options.expires ?? null,
        models: options.models ?? null,
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
    await withStore(async (store) => {
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
              key.name,
            ].join('  ')
        process.stdout.write(`${line}\n`)
      }
    })
  })

keys
  .command('revoke <id>')
  .description('a revoked key is refused by every process within five seconds')
  .action(async (id: string) => {
    await withStore(async (store) => {
      if (!(await store.revokeKey(id, Date.now()))) fail(`There is no key '${id}'.`)
      process.stdout.write(`Revoked ${id}.\n`)
    })
  })

const config = program.command('config').description('the configuration')

config
  .command('check')
  .description('validate the configuration, includes and variables')
  .action(() => {
    const { config: checked, files } = loadConfig(configPath())
    process.stdout.write(
      `${files.join(', ')}: good. ${checked.candidates.length} candidates, ${Object.keys(checked.providers).length} providers, ${checked.tenants.length} tenants.\n`,
    )
    for (const unknown of unknownNames(checked)) {
      process.stdout.write(
        `  ${unknown} here: only a server that lists its models when the gateway starts can have it\n`,
      )
    }
  })

config
  .command('schema')
  .description('print the JSON schema, for editors')
  .action(() => {
    process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
  })

program
  .command('explain <question>')
  .description('ask a running gateway which candidate it would choose, and why')
  .option('--url <url>', 'the gateway', 'http://127.0.0.1:8787')
  .option('--user <id>', 'for this user')
  .option('--model <model>', 'auto, auto:<group> or a candidate', 'auto')
  .addOption(new Option('--key <key>', 'a tenant key').env('PERSONA_ROUTER_KEY').makeOptionMandatory())
  .action(async (question: string, options: { url: string; user?: string; model: string; key: string }) => {
    const { explainTable } = await import('./explain-table.ts')
    const response = await fetch(new URL('/v1/router/explain', options.url), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${options.key}`,
        'content-type': 'application/json',
        ...(options.user && { 'x-user-id': options.user }),
      },
      body: JSON.stringify({ model: options.model, messages: [{ role: 'user', content: question }] }),
    }).catch(() => fail(`No gateway answers at ${options.url}. Is it running? Give its address with --url.`))
    const answer: unknown = await response.json()
    if (!response.ok) fail(`${response.status}: ${JSON.stringify(answer)}`)
    process.stdout.write(explainTable(answer))
  })

program
  .command('report')
  .description('what a tenant’s requests cost, what users thought of them, and what the router gains over the baseline')
  .requiredOption('--tenant <name>', 'whose requests')
  .option('--since <when>', 'a date, or days ago (e.g. 7d)', parsePast, Date.now() - 7 * DAY_MS)
  .option('--until <when>', 'a date, or days ago', parsePast, Date.now())
  .option('--json', 'as JSON instead of Markdown')
  .action(async ({ tenant, since, until, json }: { tenant: string; since: number; until: number; json?: boolean }) => {
    const { makeReport } = await import('../learning/report.ts')
    const { gainsOfTenant, reportMarkdown } = await import('./report.ts')
    await withStore(async (store, config) => {
      const report = await makeReport(store, { tenant, since, until })
      const gains = await gainsOfTenant(store, config, tenant, report.policies)
      const text = json ? JSON.stringify({ ...report, gains }, null, 2) : reportMarkdown(report, gains)
      process.stdout.write(`${text.trimEnd()}\n`)
    })
  })

program
  .command('export')
  .description('write interactions and rewards as JSON lines')
  .option('--tenant <name>', 'of this tenant only')
  .option('--since <when>', 'a date, or days ago (e.g. 7)', parsePast)
  .option('--until <when>', 'a date, or days ago', parsePast)
  .addOption(new Option('--format <format>', 'output format').choices(['jsonl']).default('jsonl'))
  .action(async (options: { tenant?: string; since?: number; until?: number }) => {
    const { exportRecords } = await import('../store/records/export.ts')
    // The reader of the pipe (`export | head`) has closed it.
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      process.exit(0)
    })
    await withStore(async (store) => {
      await exportRecords(
        store,
        {
          ...(options.tenant !== undefined && { tenant: options.tenant }),
          ...(options.since !== undefined && { since: options.since }),
          ...(options.until !== undefined && { until: options.until }),
        },
        writeOut,
      )
    })
  })

program
  .command('import <file>')
  .description('read back what export wrote; rows that are there already are left alone')
  .action(async (file: string) => {
    const { importRecords } = await import('../store/records/import.ts')
    await withStore(async (store) => {
      const { interactions, rewards } = await importRecords(store, file)
      process.stdout.write(`Imported ${interactions} interactions and ${rewards} rewards.\n`)
    })
  })

const OPERATOR_TIMEOUT_MS = 1_000

async function withStore(work: (store: Store, config: Config) => Promise<void>): Promise<void> {
  const { config: loaded } = loadConfig(configPath())
  const { openStore } = await import('../store/index.ts')
  // An operator waits longer than a request does.
  const store = await openStore(
    'command_timeout_ms' in loaded.store ? { ...loaded.store, command_timeout_ms: OPERATOR_TIMEOUT_MS } : loaded.store,
  )
  try {
    await work(store, loaded)
  } finally {
    await store.close()
  }
}

function writeOut(chunk: string): Promise<void> | void {
  if (process.stdout.write(chunk)) return
  return new Promise((resolve) => process.stdout.once('drain', resolve))
}

function parseExpiry(text: string): number {
  return /^\d+(\.\d+)?$/.test(text) ? Date.now() + Number(text) * DAY_MS : parseDate(text)
}

function parsePast(text: string): number {
  const [, days] = /^(\d+(?:\.\d+)?)d?$/.exec(text) ?? []
  return days === undefined ? parseDate(text) : Date.now() - Number(days) * DAY_MS
}

function parseDate(text: string): number {
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new InvalidArgumentError('Expected a number of days or a date such as 2026-12-31.')
  return time
}

function parseList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** A missing file, a port in use: the message says it all, a stack would hide it. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof ConfigError || isSystemError(error)) fail(error.message)
  throw error
}
