import { type Command, Option } from 'commander'
import { vaultSecrets } from '../../config/cross-check.ts'
import type { Config } from '../../config/schema.ts'
import type { Store } from '../../store/store.ts'
import { parsePast } from '../parse.ts'
import type { Counting } from '../report.ts'
import { checkTenant, withStore } from '../with-store.ts'

const DAY_MS = 86_400_000

/** `report`, `export` and `import`: the log of interactions and rewards. */
export function addLog(program: Command, configPath: () => string): void {
  program
    .command('report')
    .description(
      'what a tenant’s requests cost, what users thought of them, and what the router gains over the baseline',
    )
    .requiredOption('--tenant <name>', 'whose requests')
    .option('--since <when>', 'a date, or days ago (e.g. 7d)', parsePast, Date.now() - 7 * DAY_MS)
    .option('--until <when>', 'a date, or days ago', parsePast, Date.now())
    .option('--archive <place>', 'also read what was archived there: a directory, or s3://bucket/prefix')
    .option('--json', 'as JSON instead of Markdown')
    .action(async ({ tenant, since, until, json, archive }: ReportOptions) => {
      const { makeReport } = await import('../../learning/report.ts')
      const { gainsOfTenant } = await import('../../learning/tenant-gains.ts')
      const { ghostPairs } = await import('../../learning/ghost-report.ts')
      const { reportMarkdown } = await import('../report.ts')
      const { withFormerNames } = await import('../../learning/former-names.ts')
      await withStore(configPath(), async (opened, config) => {
        checkTenant(config, tenant)
        await withLog(opened, { archive, tenant }, async (log) => {
          const store = withFormerNames(log, () => config)
          const report = await makeReport(store, { tenant, since, until })
          const gains = await gainsOfTenant(store, config, tenant, report.policies)
          const ghosts = await ghostPairs(store, tenant)
          const text = json
            ? JSON.stringify({ ...report, gains, ghosts }, null, 2)
            : reportMarkdown(report, gains, ghosts, countingFor(config, tenant, await opened.loadMode(tenant)))
          process.stdout.write(`${text.trimEnd()}
`)
        })
      })
    })

  program
    .command('export')
    .description('write interactions and rewards as JSON lines')
    .option('--tenant <name>', 'of this tenant only')
    .option('--since <when>', 'a date, or days ago (e.g. 7)', parsePast)
    .option('--until <when>', 'a date, or days ago', parsePast)
    .option('--archive <place>', 'also read what was archived there: a directory, or s3://bucket/prefix')
    .addOption(new Option('--format <format>', 'output format').choices(['jsonl']).default('jsonl'))
    .action(async (options: { tenant?: string; since?: number; until?: number; archive?: string }) => {
      const { exportRecords } = await import('../../store/records/export.ts')
      // The reader of the pipe (`export | head`) has closed it.
      process.stdout.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EPIPE') throw error
        process.exit(0)
      })
      await withStore(configPath(), async (store, config) => {
        checkTenant(config, options.tenant)
        const { tenant, since, until } = options
        const filter = {
          ...(tenant !== undefined && { tenant }),
          ...(since !== undefined && { since }),
          ...(until !== undefined && { until }),
        }
        const { open } = await vectorsOf(store, config)
        await withLog(store, options, (log) => exportRecords(log, filter, writeOut, open))
      })
    })

  program
    .command('import <file>')
    .description('read back what export wrote; rows that are there already are left alone')
    .action(async (file: string) => {
      const { importRecords } = await import('../../store/records/import.ts')
      await withStore(configPath(), async (store, config) => {
        const { seal } = await vectorsOf(store, config)
        const { interactions, rewards } = await importRecords(store, file, seal)
        process.stdout.write(`Imported ${interactions} interactions and ${rewards} rewards.\n`)
      })
    })
}

interface ReportOptions {
  tenant: string
  since: number
  until: number
  json?: boolean
  archive?: string
}

/** With an archive, the store's rows are those of both, but for who was erased. @throws ArchiveError, StoreError */
async function withLog<T>(
  store: Store,
  { archive: path, tenant }: { archive?: string | undefined; tenant?: string | undefined },
  work: (log: Store) => Promise<T>,
): Promise<T> {
  if (path === undefined) return work(store)
  const { overridden } = await import('../../candidates/overridden-store.ts')
  const { Archive } = await import('../../store/archive/archive.ts')
  const { withArchive } = await import('../../store/archive/move.ts')
  const archive = await Archive.open(path)
  try {
    if ((await archive.tenants()).length === 0) process.stderr.write(`${path}: nothing is archived there.\n`)
    await archive.takeMoves(store.listMoves(tenant))
    archive.leaveOut(await store.listErasures(tenant))
    return await work(overridden(store, withArchive(store, archive)))
  } finally {
    await archive.close()
  }
}

async function vectorsOf(store: Store, config: Config) {
  const { movedVectors } = await import('../../learning/moved-vectors.ts')
  const { VectorVault } = await import('../../learning/vector-vault.ts')
  return movedVectors(config, new VectorVault(store, vaultSecrets(config)))
}

function writeOut(chunk: string): Promise<void> | void {
  if (process.stdout.write(chunk)) return
  return new Promise((resolve) => process.stdout.once('drain', resolve))
}

/** @param switched the mode that the operator switched to; null: none */
function countingFor({ router, tenants }: Config, name: string, switched: string | null): Counting {
  const tenant = tenants.find((one) => one.name === name)
  return {
    mode: switched ?? tenant?.mode ?? router.mode,
    explore: router.explore && tenant?.explore !== false,
    minAnswers: router.shared_evidence.min_answers,
    minAgeHours: router.shared_evidence.min_age_hours,
  }
}
