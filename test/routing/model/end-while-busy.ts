/** A process that ends while the model thread works: `model-thread.test.ts` looks at its exit code. */

import { loadArtifact } from '../../../src/routing/artifact/load.ts'
import { modelThread } from '../../../src/routing/model/thread.ts'
import { userFeeds } from '../../../src/routing/model/user-graph.ts'

const { sessions, dims } = await loadArtifact(process.argv[2] ?? '')
const feeds = userFeeds(new Float32Array(dims.H), new Float32Array(dims.Y), 1, dims)
const keepBusy = async (): Promise<never> => {
  for (;;) await sessions.user.run(feeds)
}
const busy = Array.from({ length: 8 }, () => keepBusy().catch((error: Error) => error.message))
await sessions.user.run(feeds)
await modelThread.close()
console.log(new Set(await Promise.all(busy)))
process.exit(0)
