import { ConfigError } from '../config/load.ts'
import { restartNeeded } from '../config/restart.ts'
import type { Config } from '../config/schema.ts'
import { closeSnapshot, type Snapshot } from '../config/snapshot.ts'
import type { ConfigSource } from '../config/source.ts'
import type { Logger } from '../observability/logger.ts'
import type { Webhook } from '../observability/webhook.ts'
import { heldBytesOptions } from '../pipeline/held-bytes.ts'
import type { Policies } from '../routing/policies/policies.ts'
import { Siblings } from '../server/workers.ts'
import type { Services } from './contract.ts'

type TakesIn = Pick<Services, 'authenticator' | 'heldBytes' | 'admission' | 'requests' | 'policies' | 'log'>

/**
 * A function that reads the configuration again and takes it in.
 *
 * @param started the configuration that the process started with
 */
export function reloadOf(source: ConfigSource, started: Config, deps: TakesIn & { webhook: Webhook }) {
  return (): Promise<void> =>
    source
      .reload((next, old) => takeIn(deps, started, next, old))
      .catch((error: unknown) => {
        if (error instanceof ConfigError) {
          void deps.webhook.tell({ type: 'config.refused', data: { problems: error.problems } })
        }
        throw error
      })
}

/** The other processes behind the same port: an order that one of them was given is carried out here, too. */
export function siblingsOf(reload: () => Promise<void>, policies: Policies, log: Logger): Siblings {
  return new Siblings((order) => {
    const done =
      order.kind === 'config'
        ? reload()
        : order.kind === 'artifact'
          ? policies.reload(order.artifact, order.tenant)
          : policies.rollback(order.version, order.tenant)
    done.catch((error: Error) =>
      log.error({ reason: error.message, order: order.kind }, 'an order of a sibling failed'),
    )
  })
}

/** Takes in a new configuration, as far as a running process can. */
async function takeIn(services: TakesIn, started: Config, next: Snapshot, old: Snapshot): Promise<void> {
  const { authenticator, heldBytes, admission, requests, policies, log } = services
  authenticator.configure(next.config)
  heldBytes.configure(heldBytesOptions(next.config))
  admission.configure(admissionOptions(next.config))
  void requests.unused(old).then(() => closeSnapshot(old))
  log.info({ candidates: next.candidates.length, tenants: next.tenants.size }, 'configuration reloaded')
  warnOfEmpty(next, log)
  const waiting = restartNeeded(started, next.config)
  if (waiting.length > 0) log.warn({ settings: waiting }, 'these settings take effect at the next start')
  await policies.configure(next.config.router, next.config.tenants)
  const isRenamed = next.candidates.some(({ formerly }) => formerly !== undefined)
  if (isRenamed) for (const tenant of next.tenants.keys()) policies.refreshEvidence(tenant)
  await policies.warm(next.tenants.values())
}

/**
 * Warns of names and groups that stand for no candidate. It need not be a mistake in the configuration: a local server
 * may list other models than before, or a provider lack its key.
 */
export function warnOfEmpty({ empty }: Snapshot, log: Logger): void {
  for (const { tenant, wanted } of empty) log.warn({ tenant, wanted }, 'no usable candidate has this name or group')
}

/** Bounds of the work that is done at once. */
export const admissionOptions = ({ server }: Config) => ({
  maxConcurrent: server.max_concurrent,
  maxQueue: server.max_queue,
})
