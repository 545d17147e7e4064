import { modelThread } from '../routing/model/thread.ts'
import { hasAuthorities, trustAuthorities } from '../runtime/authorities.ts'
import { hasProxy } from '../runtime/proxy.ts'
import { messageFor } from './fail.ts'
import { plainServe } from './plain-serve.ts'

// Before the first connection.
if (hasAuthorities()) for (const problem of trustAuthorities()) process.stderr.write(`${problem}\n`)

// Loading undici takes a while.
if (hasProxy()) await (await import('../runtime/dispatcher.ts')).proxyFetch()

try {
  const serve = async (configPath: string) => {
    modelThread.warmUp()
    return (await import('../main.ts')).serve(configPath)
  }
  const plain = plainServe(process.argv.slice(2))
  if (plain !== null) await serve(plain)
  else await (await import('./program.ts')).createProgram(serve).parseAsync()
} catch (error) {
  const message = messageFor(error)
  if (message === null) {
    const { inSources } = await import('../observability/source-places.ts')
    if (error instanceof Error && error.stack) error.stack = inSources(error.stack)
    throw error
  }
  // Sockets and timers of what has failed may still be open. A thread that is cut off while it opens an artifact would
  // take the process along (SIGABRT).
  process.stderr.write(`${message}\n`, () => void modelThread.close().finally(() => process.exit(1)))
}
