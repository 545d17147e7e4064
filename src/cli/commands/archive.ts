import { type Command, InvalidArgumentError } from 'commander'
import { checkTenant, withStore } from '../with-store.ts'

const DAY_MS = 86_400_000
/** Answers of the last days are still rated. */
const LEAST_DAYS = 1
const TELL_EVERY = 100_000

interface ArchiveOptions {
  to: string
  olderThan: number
  keep?: number
  tenant?: string
  eraseOnly?: boolean
}

/** `archive`: old log rows to Parquet files. */
export function addArchive(program: Command, configPath: () => string): void {
  program
    .command('archive')
    .description('move old log rows out of the store into Parquet files, and erase there who was erased here')
    .requiredOption('--to <place>', 'the archive: a directory, or s3://bucket/prefix')
    .option('--older-than <days>', 'days that rows stay in the store, whole UTC days', parseDays, 30)
    .option('--keep <days>', 'drop what was archived of days that are older', parseDays)
    .option('--tenant <name>', 'of this tenant only')
    .option('--erase-only', 'move nothing: only erase there who was erased here')
    .action(async (options: ArchiveOptions) => {
      const { Archive } = await import('../../store/archive/archive.ts')
      const { eraseRows } = await import('../../store/archive/erase.ts')
      const { moveRows } = await import('../../store/archive/move.ts')
      const { to, olderThan, keep, tenant, eraseOnly } = options
      await withStore(configPath(), async (store, config) => {
        checkTenant(config, tenant)
        await store.ping()
        const archive = await Archive.open(to, { make: true })
        try {
          await archive.tidy()
          await archive.takeMoves(store.listMoves(tenant))
          await archive.saveMoves()
          const today = Math.floor(Date.now() / DAY_MS) * DAY_MS
          const [before, oldest] = [today - olderThan * DAY_MS, keep === undefined ? null : today - keep * DAY_MS]
          let moved = { interactions: 0, rewards: 0 }
          if (!eraseOnly) {
            const only = tenant !== undefined && { tenant }
            moved = await moveRows(store, archive, { before, ...only, onProgress: telling() })
            process.stdout.write(
              `Moved ${moved.interactions} interactions and ${moved.rewards} rewards from before ${dayOf(before)} to ${to}.\n`,
            )
          }
          // After it: who was erased meanwhile may have been moved.
          const erased = await eraseRows(store, archive, (problem) => void process.stderr.write(`${problem}\n`))
          if (erased > 0 || eraseOnly) process.stdout.write(`Erased ${erased} archived rows of erased users.\n`)
          if (oldest !== null) {
            process.stdout.write(
              `Dropped ${await archive.dropBefore(dayOf(oldest))} archived days from before ${dayOf(oldest)}.\n`,
            )
          }
        } finally {
          await archive.close()
        }
      })
    })
}

const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10)

function telling() {
  let told = 0
  return ({ interactions, rewards }: { interactions: number; rewards: number }) => {
    if (interactions + rewards < told + TELL_EVERY) return
    told = interactions + rewards
    process.stderr.write(`${interactions} interactions, ${rewards} rewards …\n`)
  }
}

function parseDays(text: string): number {
  const days = Number(text)
  if (!Number.isInteger(days) || days < LEAST_DAYS) {
    throw new InvalidArgumentError(`Expected a whole number of days, at least ${LEAST_DAYS}.`)
  }
  return days
}
