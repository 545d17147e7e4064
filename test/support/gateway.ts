import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const READY_WITHIN_MS = 90_000

/** The key of the tenant `test` in `startGateway`'s configurations. */
export const TEST_KEY = 'pr-test-key-0123456789abcdef'
export const ADMIN_KEY = 'pr-admin-key-0123456789abcdef'

export interface RunningGateway {
  url: string
  /** For SDKs. */
  baseURL: string
  key: string
  dir: string
  configFile: string
  process: ChildProcess
  stdout: () => string
  stderr: () => string
  /** SIGTERM, then waits; the exit code, or the signal that ended it. */
  stop: (signal?: NodeJS.Signals) => Promise<number | NodeJS.Signals | null>
}

/** A configuration that differs from the defaults only where given; merged one level deep. */
export type TestConfig = Record<string, unknown> & { tenants?: unknown[] }

/**
 * Starts the real gateway as a process of its own on a free port, with a temporary directory for its data.
 * Without `providers` it serves the sandbox. `under`: a program that becomes the gateway, such as a tracer. `root`:
 * where the gateway's source lies, to start another version. As a user starts it: from the bundle, where that is of the
 * sources as they are, which halves the start; else from the sources. `program`: in `root`, what is run instead.
 */
export async function startGateway(
  config: TestConfig = {},
  {
    env = {},
    dir = mkdtempSync(join(tmpdir(), 'persona-router-')),
    under = [],
    root = ROOT,
    program = 'bin/persona-router.mjs',
  }: { env?: Record<string, string>; dir?: string; under?: string[]; root?: string; program?: string } = {},
): Promise<RunningGateway> {
  const configFile = join(dir, 'gateway.yaml')
  writeFileSync(configFile, stringify(testConfig(config, dir)))
  const command = [...under, process.execPath, join(root, program), 'serve', '--config', configFile]
  const child = spawn(command[0] as string, command.slice(1), {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: dir, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const exited = new Promise<number | NodeJS.Signals | null>((done) =>
    child.once('exit', (code, signal) => done(code ?? signal)),
  )
  const port = await new Promise<number>((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`The gateway is not up:\n${stdout}\n${stderr}`)), READY_WITHIN_MS)
    child.stdout.on('data', () => {
      const found = /"msg":"listening"[^\n]*"port":(\d+)|"port":(\d+)[^\n]*"msg":"listening"/.exec(stdout)
      if (!found) return
      clearTimeout(timer)
      done(Number(found[1] ?? found[2]))
    })
    child.once('exit', (code) => {
      clearTimeout(timer)
      fail(new Error(`The gateway ended with ${code}:\n${stdout}\n${stderr}`))
    })
  })
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    baseURL: `${url}/v1`,
    key: TEST_KEY,
    dir,
    configFile,
    process: child,
    stdout: () => stdout,
    stderr: () => stderr,
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      const code = await exited
      return code
    },
  }
}

/** As `startGateway` writes it: for tests that rewrite the file later. */
export function testConfig(config: TestConfig, dir: string): Record<string, unknown> {
  return {
    ...config,
    ...('providers' in config ? {} : { include: [join(ROOT, 'config/models.yaml')] }),
    server: { port: 0, drain_timeout_ms: 2_000, ...(config.server as object) },
    store: config.store ?? { kind: 'sqlite', path: join(dir, 'gateway.db') },
    spool: { path: join(dir, 'spool'), ...(config.spool as object) },
    identity: { secret: 'identity-secret-for-tests', ...(config.identity as object) },
    admin: config.admin ?? { key: ADMIN_KEY },
    // On a busy machine the artifact would now and then be given up on, and the fallback router decide. What is tried
    // out is drawn alike in every run, so that no test fails once in some dozens.
    router: { deadline_ms: 10_000, exploration_seed: 1, ...(config.router as object) },
    tenants: config.tenants ?? [{ name: 'test', keys: [TEST_KEY] }],
  }
}

/** Stops the gateway and removes its data. */
export async function discard(gateway: RunningGateway | undefined): Promise<void> {
  if (!gateway) return
  await gateway.stop('SIGKILL')
  rmSync(gateway.dir, { recursive: true, force: true })
}
