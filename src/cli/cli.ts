import { hasProxy } from '../runtime/proxy.ts'
import { messageFor } from './fail.ts'
import { createProgram } from './program.ts'

// Loading undici takes a while.
if (hasProxy()) await (await import('../runtime/dispatcher.ts')).proxyFetch()

try {
  await createProgram(async (configPath) => (await import('../main.ts')).serve(configPath)).parseAsync()
} catch (error) {
  const message = messageFor(error)
  if (message === null) throw error
  // Sockets and timers of what has failed may still be open.
  process.stderr.write(`${message}\n`, () => process.exit(1))
}
