import type { Command } from 'commander'
import type { Config } from '../../config/schema.ts'
import type { Outcomes } from '../../store/backup/restore.ts'
import type { RowType } from '../../store/backup/rows.ts'
import type { Compared } from '../../store/backup/verify.ts'
import { fail } from '../fail.ts'
import { parseDirectory } from '../parse.ts'
import { Progress } from '../progress.ts'
import { withStore } from '../with-store.ts'

const DAY_MS = 86_400_000

/** `backup` and `restore`: all that was learned, stated and issued. */
export function addBackup(program: Command, configPath: () => string): void {
  program
    .command('backup')
    .description('write all that the store keeps into a directory, or go on with it; gateways may run meanwhile')
    .requiredOption('--to <directory>', 'a new one, or one of a backup that was interrupted', parseDirectory)
    .option('--verify', 'only check a whole backup: the hash of each file')
    .action(async ({ to, verify }: { to: string; verify?: boolean }) => {
      if (verify) return check(to)
      await withStore(configPath(), async (store) => {
        await store.ping()
        const { writeBackup } = await import('../../store/backup/write.ts')
        const { rowsOf } = await import('../../store/backup/manifest.ts')
        const progress = new Progress('backup')
        const manifest = await writeBackup(store, to, { onProgress: progress.show }).finally(() => progress.end())
        process.stdout.write(`${to}: a backup of ${new Date(manifest.started_at).toISOString()}.\n`)
        process.stdout.write(counted(rowsOf(manifest)))
        process.stderr.write(secretNote(manifest))
      })
    })

  program
    .command('restore')
    .description('bring a backup into the store; what is there and as new stays, and doing it again changes nothing')
    .requiredOption('--from <directory>', 'a whole backup', parseDirectory)
    .option('--verify', 'change nothing: compare the store with the backup, row by row; exit 1 where they differ')
    .option('--older', 'also one that is older than store.retention_days')
    .action(async ({ from, verify, older }: { from: string; verify?: boolean; older?: boolean }) => {
      const { readWhole } = await import('../../store/backup/manifest.ts')
      await withStore(configPath(), async (store, config) => {
        await store.ping()
        const manifest = readWhole(from)
        const { checkIdentity, noteIdentity } = await import('../../store/backup/identity.ts')
        await checkIdentity(store, manifest, config.identity)
        if (verify) {
          const { compareWithStore } = await import('../../store/backup/verify.ts')
          const progress = new Progress('verify')
          const found = await compareWithStore(store, from, manifest, progress.show).finally(() => progress.end())
          const { text, isSame } = compared(found)
          process.stdout.write(text)
          if (!isSame) process.exitCode = 1
          return
        }
        const retentionMs = config.store.retention_days * DAY_MS
        if (!older) refuseOld(from, manifest.started_at, retentionMs)
        const { restoreBackup } = await import('../../store/backup/restore.ts')
        const progress = new Progress('restore')
        const options = { retentionMs, onProgress: progress.show }
        const outcomes = await restoreBackup(store, from, manifest, options).finally(() => progress.end())
        await noteIdentity(store, manifest)
        process.stdout.write(restored(outcomes))
        process.stdout.write(unknownTenants(config, manifest.tenants))
      })
    })
}

async function check(dir: string): Promise<void> {
  const { readWhole, rowsOf } = await import('../../store/backup/manifest.ts')
  const { checkPart } = await import('../../store/backup/parts.ts')
  const manifest = readWhole(dir)
  for (const part of manifest.parts) await checkPart(dir, part)
  process.stdout.write(`${dir}: whole, ${manifest.parts.length} files as they were written.\n`)
  process.stdout.write(counted(rowsOf(manifest)))
}

/** Who was erased is remembered for so long: an older backup could bring them back. */
function refuseOld(dir: string, startedAt: number, retentionMs: number): void {
  if (startedAt > Date.now() - retentionMs) return
  fail(
    `The backup in ${dir} is of ${new Date(startedAt).toISOString()}, older than store.retention_days: who was erased since then may be forgotten, and would be back. --older restores it all the same.`,
  )
}

const secretNote = ({ has_secret, has_hashed_ids }: { has_secret: boolean; has_hashed_ids: boolean }): string =>
  has_secret
    ? 'The secret of user ids is in it: keep it as safe as the store.\n'
    : has_hashed_ids
      ? 'The secret of user ids (identity.secret) is not in it: keep that, too, for without it no user is found.\n'
      : ''

const counted = (rows: Partial<Record<RowType, number>>): string =>
  Object.entries(rows)
    .map(([type, count]) => `  ${type.padEnd(12)} ${count}\n`)
    .join('')

const WORDS = {
  restored: 'restored',
  kept: 'there already, as new',
  erased: 'left out: erased since',
  over: 'left out: their time is over',
}

function restored(outcomes: Outcomes): string {
  const lines = Object.entries(outcomes).map(([type, counts]) => {
    const words = Object.entries(counts).map(([outcome, count]) => `${count} ${WORDS[outcome as keyof typeof WORDS]}`)
    return `  ${type.padEnd(12)} ${words.join(', ')}\n`
  })
  return lines.length > 0 ? lines.join('') : 'The backup is empty.\n'
}

function compared(found: Partial<Record<RowType, Compared>>): { text: string; isSame: boolean } {
  const lines = Object.entries(found).map(([type, { rows, same, missing, stored }]) => {
    const changed = rows - same - missing
    const parts = [
      `${same} of ${rows} the same`,
      ...(missing > 0 ? [`${missing} missing`] : []),
      ...(changed > 0 ? [`${changed} changed since`] : []),
      ...(stored > rows ? [`${stored - rows} more in the store`] : []),
    ]
    return `  ${type.padEnd(12)} ${parts.join('; ')}\n`
  })
  return { text: lines.join(''), isSame: Object.values(found).every(({ rows, same }) => rows === same) }
}

/** What is kept of them is not served. */
function unknownTenants({ tenants }: Config, restoredTenants: readonly string[]): string {
  const known = new Set(tenants.map(({ name }) => name))
  const unknown = restoredTenants.filter((name) => !known.has(name))
  return unknown.length > 0 ? `Not in the configuration: tenant ${unknown.join(', ')}.\n` : ''
}
