import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { closeSnapshot } from './config/snapshot.ts'
import { GatewayError } from './errors.ts'
import type { Services } from './parts.ts'
import { modelThread } from './routing/model/thread.ts'
import { closeAfterAnswers, drainServer } from './server/http-server.ts'

/** After the drain deadline, streams get this long to tell their clients. */
const CUT_GRACE_MS = 1_000

/**
 * Lets answers in work end, cuts what is left at the deadline, then closes all that was opened, each thing after those
 * that use it.
 */
export async function shutDown(services: Services, server: Server, signal: NodeJS.Signals): Promise<void> {
  const { requests, learner, policies, users, judge, settlements, recorder, store, log } = services
  log.info({ signal, in_flight: requests.size }, 'draining')
  services.stopAgreeing()
  const { drain_delay_ms, drain_timeout_ms } = services.snapshot().config.server
  closeAfterAnswers(server)
  requests.closeAfterAnswers()
  // Nobody balances in front of a terminal.
  if (signal !== 'SIGINT') await sleep(drain_delay_ms)
  const cut = setTimeout(() => requests.cut(shuttingDown()), drain_timeout_ms)
  await drainServer(server, drain_timeout_ms + CUT_GRACE_MS)
  clearTimeout(cut)
  await judge?.close()
  await learner.close()
  await policies.close()
  await modelThread.close()
  users.close()
  await settlements.close()
  await recorder.close().catch((error: unknown) => log.error({ err: error }, 'records stay in the spool'))
  await closeSnapshot(services.snapshot())
  await store.close()
  log.info('bye')
}

const shuttingDown = () =>
  new GatewayError('The gateway is shutting down.', {
    status: 503,
    type: 'api_error',
    code: 'shutting_down',
    retryAfterS: 1,
  })
