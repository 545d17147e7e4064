/**
 * Does something for each, one after the other: where one fails, the others get their turn all the same.
 *
 * @throws what failed first, once all had their turn
 */
export async function eachOnItsOwn<T>(all: Iterable<T>, work: (one: T) => Promise<unknown>): Promise<void> {
  const failures: unknown[] = []
  for (const one of all) {
    try {
      await work(one)
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
}
