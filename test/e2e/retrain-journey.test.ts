// The whole way of an operator's log, at sizes that take minutes; `learning-loop.test.ts` goes it with 480 ratings.
//   JOURNEY_THUMBS='300 3000 100000' npm run test:journey
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { ArtifactFolder, COMMITTED } from '../support/artifacts.ts'
import { adminCall, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { measured } from '../support/measured.ts'
import { python } from '../support/python.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const scripted = (name: string) => join(ROOT, 'router-model/tests/retrain', name)
const ASKED = process.env.JOURNEY_THUMBS
const SIZES = (ASKED || '300 3000 100000').trim().split(/\s+/).map(Number)
/** Thumbs by one rule tell little of the next question: the operator lets pass all that may be. */
const WAIVED = ['propensities', 'evidence', 'value', 'cold_start', 'tenants', 'calibration', 'latency']
/** An expected reward lies between -1 and 1; what gates let pass at most. */
const POSSIBLE = 2

let folder: ArtifactFolder
let gateway: RunningGateway | undefined
afterEach(async () => {
  await discard(gateway)
  folder?.remove()
})

const policyOf = async (running: RunningGateway) => {
  const { policies } = (await (await adminCall(running, '/status')).json()) as { policies: { policy: string } }
  return policies.policy
}

test.skipIf(!ASKED).each(SIZES)(
  'a log of %i thumbs is retrained from, published, taken in by the running gateway, and rolled back',
  async (thumbs) => {
    folder = new ArtifactFolder()
    const embedder = join(COMMITTED, 'embedder')
    const log = join(folder.path, 'log.jsonl')
    const made = await python(scripted('small_artifact.py'), embedder, folder.of('first'))
    expect(made, made.stderr).toMatchObject({ code: 0 })
    const written = await python(scripted('rule_log.py'), embedder, log, String(thumbs), 'test')
    expect(written, written.stderr).toMatchObject({ code: 0 })
    const rows = readFileSync(log, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    const llms = [...new Set(rows.flatMap(({ chosen }) => chosen ?? []))] as string[]
    const [someone] = rows.map(({ user }) => user) as string[]
    folder.turnTo('first')

    gateway = await startGateway({
      router: { artifact: folder.current, required: true },
      tenants: [{ name: 'test', keys: [TEST_KEY] }],
      providers: {
        local: { kind: 'openai-compatible', base_url: 'http://127.0.0.1:9/v1', key_required: false, auth: 'none' },
      },
      candidates: llms.map((name) => ({ name, provider: 'local', price: { input: 1, output: 4 } })),
    })
    const began = performance.now()
    const retrained = await python(
      ...['-m', 'router_model', 'retrain', '--from', log, '--config', gateway.configFile],
      ...['--report', join(folder.path, 'report'), ...WAIVED.flatMap((gate) => ['--waive', gate])],
    )
    expect(retrained, retrained.stderr).toMatchObject({ code: 0 })
    measured(`retraining from ${thumbs} thumbs`, `${((performance.now() - began) / 1_000).toFixed(0)} s`)
    expect(retrained.stderr).toContain('possible: passed')

    const version = await eventually(
      async () => {
        const policy = await policyOf(gateway as RunningGateway)
        return policy !== 'first' && policy
      },
      'the gateway has taken in what was published',
      60_000,
    )
    expect(version).toMatch(/^\d{4}\.\d\d\.\d\d-\d+$/)
    const { candidates, reason } = await explain(gateway, 'Why is the sky blue?', { user: someone as string })
    expect(reason).not.toContain('fallback')
    for (const { mean } of candidates) expect(Math.abs(mean)).toBeLessThanOrEqual(POSSIBLE)
    expect(candidates.map(({ name }) => name).sort()).toEqual(llms.sort())

    const { status } = await adminCall(gateway, '/artifact/rollback', { body: { version: 'first' } })
    expect(status).toBe(200)
    expect(await policyOf(gateway)).toBe('first')
  },
  1_800_000,
)
