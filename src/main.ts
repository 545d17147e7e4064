import type { Server } from 'node:http'
import { flushCompileCache } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { printWelcome } from './cli/first-run.ts'
import { loadConfig } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { GatewayError } from './errors.ts'
import { createLogger } from './observability/logger.ts'
import { modelThread } from './routing/model/thread.ts'
import { tuneEngine } from './runtime/engine.ts'
import { giveMemoryBack, whenIdle } from './runtime/idle.ts'
import { watchFiles } from './runtime/watch.ts'
import { isFirst, isSupervisor, supervise } from './server/workers.ts'
import type { Overrides, Services } from './services/contract.ts'

/**
 * Reads the configuration, builds the services, listens; drains on SIGTERM and SIGINT.
 *
 * @param overrides the bench takes parts of the services out
 */
export async function serve(configPath: string, overrides: Overrides = {}): Promise<void> {
  const loaded = loadConfig(configPath)
  const { config } = loaded
  const { log, dropped, flush } = createLogger(config.log.level)
  if (isSupervisor(config.server.workers)) {
    await modelThread.stop()
    return supervise(config.server.workers, log)
  }

  tuneEngine()

  // Its thread reads and checks the artifact while this one reads the code.
  modelThread.foresee(config.router.artifact, config.router.artifact_public_key ?? null)
  const { ConfigSource } = await import('./config/source.ts')
  const { closeServices, createServices } = await import('./services.ts')
  const { createHttpServer, mostConnections, useCertificate } = await import('./server/http-server.ts')
  const { createApp } = await import('./server/app.ts')
  const { directly } = await import('./server/direct.ts')
  const { watchGauges } = await import('./observability/gauges.ts')

  let ending = false
  const source = await ConfigSource.open(configPath, loaded)
  const services = await createServices(source, log, overrides)
  watchGauges(services.metrics, services, dropped)
  const server = createHttpServer({
    fetch: createApp(services).fetch,
    shortcut: directly(services),
    config: config.server,
    cors: () => services.snapshot().config.cors,
    writeIdleMs: () => services.snapshot().config.server.write_idle_timeout_ms,
    errors: services,
  })
  source.onChange((next) => useCertificate(server, next.config.server))
  const stopWatching = watchFiles(() => source.files, reload)

  // Before the port is open: a supervisor that sees it open may send a signal.
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
  process.on('SIGHUP', reload)

  const port = await listen(server, config.server).catch(async (error) => {
    await modelThread.close()
    throw error
  })
  log.info({ host: config.server.host, port, ...services.policies.status() }, 'listening')
  const connections = mostConnections(config.server)
  if (connections < config.server.max_connections) {
    log.warn({ connections }, 'too few files may be open for server.max_connections: raise the limit (ulimit -n)')
  }
  // What the model thread runs is to be found there, too, compiled.
  await import('./routing/model/worker.ts')
  // Now, not at the exit: a process that is killed has no exit.
  flushCompileCache()
  whenIdle(services.requests, giveMemoryBack)
  if (isFirst()) {
    const key = await services.firstKey.show(services.store, config).catch(() => null)
    printWelcome({ server: config.server, port, key, snapshot: services.snapshot() })
  }

  function reload(): void {
    services.reload().catch((error: Error) => {
      log.error({ reason: error.message }, 'configuration not reloaded: the old one stays')
    })
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    // A second signal ends the wait.
    if (ending) return modelThread.close().finally(() => process.exit(1))
    ending = true
    stopWatching()
    log.info({ signal, in_flight: services.requests.size }, 'draining')
    await drain(services, server, signal)
    await closeServices(services)
    log.info('bye')
    flush()
    process.exit(0)
  }
}

/** After the drain deadline, streams get this long to tell their clients. */
const CUT_GRACE_MS = 1_000

/** Lets answers in work end, and cuts those that are left at the deadline. */
async function drain({ requests, snapshot }: Services, server: Server, signal: NodeJS.Signals): Promise<void> {
  const { closeAfterAnswers, drainServer } = await import('./server/http-server.ts')
  const { drain_delay_ms, drain_timeout_ms } = snapshot().config.server
  closeAfterAnswers(server)
  requests.drain()
  // A load balancer needs the delay to notice; in front of a terminal there is none.
  if (signal !== 'SIGINT') await sleep(drain_delay_ms)
  const cut = setTimeout(() => requests.cut(shuttingDown()), drain_timeout_ms)
  await drainServer(server, drain_timeout_ms + CUT_GRACE_MS)
  clearTimeout(cut)
}

const shuttingDown = () =>
  new GatewayError('The gateway is shutting down.', {
    status: 503,
    type: 'api_error',
    code: 'shutting_down',
    retryAfterS: 1,
  })

/**
 * Connections that the kernel keeps while the process is busy; a client that finds no room tries again after a second,
 * then after three.
 */
const BACKLOG = 4_096

/** @returns the port, which the system picks where 0 is asked for */
async function listen(server: Server, { host, port }: Config['server']): Promise<number> {
  await new Promise<void>((listening, fail) => {
    server.once('error', fail)
    server.listen({ port, host: host.replace(/^\[(.*)\]$/, '$1'), backlog: BACKLOG }, listening)
  })
  const address = server.address()
  return typeof address === 'object' && address ? address.port : port
}
