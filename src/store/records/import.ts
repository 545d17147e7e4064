import { createReadStream } from 'node:fs'
import { z } from 'zod'
import { linesOf } from '../../runtime/lines.ts'
import type { Store } from '../store.ts'
import type { InteractionRecord, RewardRecord } from './codec.ts'
import { interactionSchema, readInteraction, readReward, rewardSchema } from './codec.ts'

const BATCH = 500

/** A file that is no log. */
export class ImportError extends Error {
  override readonly name = 'ImportError'
}

/**
 * Reads what `exportRecords` wrote (or a spool's segment) into a store; what it has already is left alone. Returns how
 * many rows were read.
 *
 * @param seal gives a record the vector with which it is kept; by default none
 * @param file a path, or `-` for standard input
 * @throws ImportError naming the line that is not a record; what came before it has been imported. StoreError when the
 * store fails.
 */
export async function importRecords(
  store: Store,
  file: string,
  seal: (record: InteractionRecord) => Promise<InteractionRecord> = async (record) => ({ ...record, embedding: null }),
): Promise<{ interactions: number; rewards: number }> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  // That of a directory, which is opened, does not name it.
  input.on('error', (error: NodeJS.ErrnoException) => {
    if (file !== '-') error.path ??= file
  })
  const counts = { interactions: 0, rewards: 0 }
  let interactions: InteractionRecord[] = []
  let rewards: RewardRecord[] = []
  const flush = async () => {
    await store.appendInteractions(await Promise.all(interactions.map(seal)))
    await store.appendRewards(rewards)
    counts.interactions += interactions.length
    counts.rewards += rewards.length
    interactions = []
    rewards = []
  }
  let number = 0
  for await (const line of linesOf(input)) {
    number++
    if (line.trim() === '') continue
    try {
      const { type, ...document } = lineSchema.parse(JSON.parse(line))
      if (type === 'interaction') interactions.push(readInteraction(interactionSchema.parse(document)))
      else rewards.push(readReward(rewardSchema.parse(document)))
    } catch (error) {
      await flush()
      throw new ImportError(`${file}, line ${number} is not a record: ${describe(error)}`)
    }
    if (interactions.length + rewards.length >= BATCH) await flush()
  }
  await flush()
  if (counts.interactions + counts.rewards === 0) throw new ImportError(`${file} holds no records.`)
  return counts
}

const lineSchema = z.looseObject({ type: z.enum(['interaction', 'reward']) })

/** Where and what was expected, never the contents: a record may hold a prompt. */
const describe = (error: unknown) =>
  error instanceof z.ZodError
    ? error.issues
        .flatMap(closest)
        .map(({ path, message }) => `${path.join('.') || 'type'}: ${message}`)
        .join('; ')
    : 'it is not JSON'

/** Of what may have two forms: what is wrong with the form that it nearly has. */
function closest(issue: z.core.$ZodIssue): { path: PropertyKey[]; message: string }[] {
  const inside = issue.code === 'invalid_union' ? issue.errors.flat().filter(({ path }) => path.length > 0) : []
  if (inside.length === 0) return [issue]
  return inside.map(({ path, message }) => ({ path: [...issue.path, ...path], message }))
}
