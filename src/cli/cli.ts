import { modelThread } from '../routing/model/thread.ts'
import { hasProxy } from '../runtime/proxy.ts'
import { messageFor } from './fail.ts'
import { plainServe } from './plain-serve.ts'

// Before the first connection. Loading Node's TLS, as undici, takes a while.
if (process.env.SSL_CERT_FILE || process.env.SSL_CERT_DIR) {
  const { trustAuthorities } = await import('../runtime/authorities.ts')
  for (const problem of trustAuthorities()) process.stderr.write(`${problem}\n`)
}
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
  // A thread that is cut off while it opens an artifact would take the process along (SIGABRT).
  if (message === null) {
    const { inSources } = await import('../observability/source-places.ts')
    if (error instanceof Error && error.stack) error.stack = inSources(error.stack)
    await modelThread.close()
    throw error
  }
  // Sockets and timers of what has failed may still be open.
  process.stderr.write(`${message}\n`, () => void modelThread.close().finally(() => process.exit(1)))
}
