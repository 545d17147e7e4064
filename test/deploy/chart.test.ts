import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments, stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'

const CHART = fileURLToPath(new URL('../../deploy/helm/persona-router', import.meta.url))

type Manifest = Record<string, unknown> & {
  apiVersion: string
  kind: string
  metadata: { name: string }
  spec: Record<string, never>
  data: Record<string, string>
}

const helm = (...args: string[]) => spawnSync('helm', args, { encoding: 'utf8' })
const hasHelm = helm('version').status === 0

function render(values: object = {}): Manifest[] {
  const dir = mkdtempSync(join(tmpdir(), 'chart-'))
  try {
    writeFileSync(join(dir, 'values.yaml'), stringify(values))
    const { status, stdout, stderr } = helm('template', 'gw', CHART, '--values', join(dir, 'values.yaml'))
    if (status !== 0) throw new Error(stderr)
    return parseAllDocuments(stdout).flatMap((document) => document.toJS() ?? [])
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Checks a manifest by Kubernetes' own schema. */
async function validate(manifest: Manifest): Promise<void> {
  const { [manifest.kind]: Model } = await import(`kubernetes-models/${manifest.apiVersion}`)
  new Model(manifest).validate()
}

const everything = {
  autoscaling: { enabled: true },
  ingress: { enabled: true, host: 'gw.example.com', className: 'nginx', tlsSecret: 'gw-tls' },
  serviceMonitor: { enabled: true },
  secrets: { OPENAI_API_KEY: 'sk-x' },
  existingSecrets: ['keys'],
  spool: { persistent: false },
  networkPolicy: { from: [{ podSelector: { matchLabels: { app: 'chat' } } }] },
  env: [{ name: 'LOG', value: 'x' }],
  nodeSelector: { disk: 'ssd' },
  tolerations: [{ key: 'gpu', operator: 'Exists' }],
  podAnnotations: { team: 'a' },
  imagePullSecrets: [{ name: 'registry' }],
}

/** A resource of an operator, whose schema is not Kubernetes' own. */
const isForeign = ({ apiVersion }: Manifest) => apiVersion.startsWith('monitoring.')

describe.skipIf(!hasHelm)('the Helm chart', () => {
  it('passes helm lint in its strict form', () => {
    const { status, stdout } = helm('lint', '--strict', CHART)
    expect(stdout).toContain('0 chart(s) failed')
    expect(status).toBe(0)
  })

  it.each([
    ['as it comes', {}],
    ['with everything on', everything],
  ])('renders what Kubernetes takes, %s', async (_, values) => {
    const manifests = render(values)
    expect(manifests.length).toBeGreaterThan(5)
    for (const manifest of manifests) if (!isForeign(manifest)) await validate(manifest)
  })

  it('knows what Kubernetes does not take', async () => {
    const service = render().find(({ kind }) => kind === 'Service') as Manifest
    await expect(validate({ ...service, spec: { ports: 'all' } as never })).rejects.toThrow()
  })

  it('has each kind that is asked for, and no other', () => {
    const kinds = (values: object) => new Set(render(values).map(({ kind }) => kind))
    const always = ['ConfigMap', 'NetworkPolicy', 'PodDisruptionBudget', 'Service', 'ServiceAccount', 'StatefulSet']
    expect([...kinds({})].sort()).toEqual(always)
    expect([...kinds(everything)].sort()).toEqual(
      [...always, 'HorizontalPodAutoscaler', 'Ingress', 'Secret', 'ServiceMonitor'].sort(),
    )
  })

  it('runs as nobody in particular, on a root that can not be written', () => {
    const set = render().find(({ kind }) => kind === 'StatefulSet') as Manifest
    const text = JSON.stringify(set.spec)
    for (const wanted of [
      '"runAsNonRoot":true',
      '"readOnlyRootFilesystem":true',
      '"allowPrivilegeEscalation":false',
      '"drop":["ALL"]',
      '"automountServiceAccountToken":false',
      '"path":"/readyz"',
      '"path":"/healthz"',
    ]) {
      expect(text).toContain(wanted)
    }
  })

  it('lets clients in from outside, not to /metrics or /admin', () => {
    const ingress = render(everything).find(({ kind }) => kind === 'Ingress') as Manifest
    expect([...JSON.stringify(ingress.spec).matchAll(/"path":"([^"]+)"/g)].map(([, path]) => path)).toEqual([
      '/v1',
      '/rate',
    ])
  })

  it('brings a configuration that the gateway takes', () => {
    const { data } = render().find(({ kind }) => kind === 'ConfigMap') as Manifest
    const dir = mkdtempSync(join(tmpdir(), 'chart-'))
    const env = { REDIS_URL: 'redis://redis:6379', ADMIN_KEY: 'an-admin-key-of-the-test' }
    Object.assign(process.env, env)
    try {
      const models = fileURLToPath(new URL('../../config/models.yaml', import.meta.url))
      writeFileSync(join(dir, 'gateway.yaml'), (data['gateway.yaml'] ?? '').replace('/app/config/models.yaml', models))
      const { config } = loadConfig(join(dir, 'gateway.yaml'))
      expect(config.store).toMatchObject({ kind: 'redis', url: env.REDIS_URL })
      expect(config.spool.path).toBe('/data/spool')
    } finally {
      for (const name of Object.keys(env)) delete process.env[name]
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('gives answers in work the time that the drain allows', () => {
    const set = render().find(({ kind }) => kind === 'StatefulSet') as Manifest
    const { terminationGracePeriodSeconds } = (
      set.spec as unknown as { template: { spec: { terminationGracePeriodSeconds: number } } }
    ).template.spec
    const { drain_delay_ms, drain_timeout_ms } = loadConfig(
      fileURLToPath(new URL('../../config/gateway.yaml', import.meta.url)),
    ).config.server
    expect(terminationGracePeriodSeconds * 1e3).toBeGreaterThan(drain_delay_ms + drain_timeout_ms)
  })
})

it('the chart and the package have one version', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  expect(readFileSync(join(CHART, 'Chart.yaml'), 'utf8')).toContain(`appVersion: ${version}`)
})
