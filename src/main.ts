import type { Server } from 'node:http'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { directly } from './api/chat-completions.ts'
import { firstKey, printWelcome } from './cli/first-run.ts'
import { loadConfig } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { ConfigSource } from './config/source.ts'
import { watchParts } from './observability/gauges.ts'
import { createLogger } from './observability/logger.ts'
import type { Services } from './parts.ts'
import { modelThread } from './routing/model/thread.ts'
import { watchFiles } from './runtime/watch.ts'
import { createApp } from './server/app.ts'
import { createHttpServer } from './server/http-server.ts'
import { isFirst, isSupervisor, supervise } from './server/workers.ts'
import { createServices, dataDirOf } from './services.ts'
import { shutDown } from './shut-down.ts'

/**
 * Reads the configuration, builds the parts, listens; drains on SIGTERM and SIGINT.
 *
 * @param change gets the parts before the first request: the bench takes some of them out
 */
export async function serve(configPath: string, change: (services: Services) => void = () => {}): Promise<void> {
  const { config, files } = loadConfig(configPath)
  const { log, dropped, flush } = createLogger(config.log.level)
  if (isSupervisor(config.server.workers)) return supervise(config.server.workers, log)

  // V8 would allocate as old what it takes for long-lived. Once dead it still keeps alive what it refers to, here the
  // next requests (docs/profile.md).
  setFlagsFromString('--no-allocation-site-pretenuring')

  let draining = false
  const configured = await ConfigSource.open(configPath, { config, files })
  const services = await createServices(configured, log, () => draining)
  watchParts(services, dropped)
  change(services)
  const server = createHttpServer(
    createApp(services).fetch,
    config.server,
    directly(services),
    () => services.snapshot().config.cors,
    () => services.snapshot().config.server.write_idle_timeout_ms,
  )
  const stopWatching = watchFiles(() => configured.files, reload)

  // Before the port is open: who sees it open may send a signal.
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  process.on('SIGHUP', reload)

  const port = await listen(server, config.server).catch(async (error) => {
    await modelThread.close()
    throw error
  })
  log.info({ host: config.server.host, port, ...services.policies.status() }, 'listening')
  // Now, not at the exit: a process that is killed has none.
  flushCompileCache()
  if (isFirst()) {
    const key = await firstKey(services.store, config, join(dataDirOf(config), 'first-key')).catch(() => null)
    printWelcome({ host: config.server.host, port, key, snapshot: services.snapshot() })
  }

  function reload(): void {
    services.reload().catch((error: Error) => {
      log.error({ reason: error.message }, 'configuration not reloaded: the old one stays')
    })
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    // Who asks twice does not want to wait.
    if (draining) return modelThread.close().finally(() => process.exit(1))
    draining = true
    stopWatching()
    await shutDown(services, server, signal)
    flush()
    process.exit(0)
  }
}

/**
 * Connections that the kernel keeps while the process is busy; what comes on top tries again after a second, then after
 * three.
 */
const BACKLOG = 4_096

/** @returns the port, which the system picks where 0 is asked for */
async function listen(server: Server, { host, port }: Config['server']): Promise<number> {
  await new Promise<void>((listening, fail) => {
    server.once('error', fail)
    server.listen({ port, host, backlog: BACKLOG }, listening)
  })
  const address = server.address()
  return typeof address === 'object' && address ? address.port : port
}
