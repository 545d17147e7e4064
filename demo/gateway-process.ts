import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { InteractionDocument } from '../src/store/records/codec.ts'
import type { Llm } from './outcomes.ts'

const ROOT = resolve(import.meta.dirname, '..')
const LISTENING = /"port":(\d+)[^\n]*"msg":"listening"/
const KEPT_OUTPUT = 65_536
/** Of a command: an export of some ten thousand requests. */
const MOST_OUTPUT = 1 << 29

export interface DemoGateway {
  url: string
  key: string
  /** What `persona-router report` says of it, as Markdown. */
  report(): Promise<string>
  /** Its log, by `persona-router export`. */
  records(): Promise<InteractionDocument[]>
  stop(): Promise<void>
}

/** What `candidates` of a gateway's configuration says of recorded LLMs that `provider` replays. */
export const candidatesOf = (llms: readonly Llm[], provider: string) =>
  llms.map(({ name, vendor, description, price }) => ({ name, vendor, description, price, provider }))

/** The gateway as anybody starts it, in a process of its own, with a database that goes when it stops. */
export async function startDemoGateway(
  providerUrl: string,
  llms: readonly Llm[],
  router: Record<string, unknown> = {},
): Promise<DemoGateway> {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-demo-'))
  const key = `pr-demo-${crypto.randomUUID()}`
  const config = {
    server: { port: 0 },
    store: { kind: 'sqlite', path: join(dir, 'demo.db') },
    spool: { path: join(dir, 'spool') },
    router: { ...router, required: true },
    providers: { replay: { kind: 'openai-compatible', base_url: providerUrl, key_required: false, auth: 'none' } },
    candidates: candidatesOf(llms, 'replay'),
    tenants: [{ name: 'demo', keys: [key] }],
  }
  writeFileSync(join(dir, 'gateway.yaml'), JSON.stringify(config))
  const child = spawn(process.execPath, ['src/cli/cli.ts', 'serve', '--config', join(dir, 'gateway.yaml')], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = new Promise<void>((gone) => child.once('exit', () => gone()))
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
    rmSync(dir, { recursive: true, force: true })
  }
  const command = async (...args: string[]) => {
    const whole = ['src/cli/cli.ts', '--config', join(dir, 'gateway.yaml'), ...args]
    const { stdout } = await promisify(execFile)(process.execPath, whole, { cwd: ROOT, maxBuffer: MOST_OUTPUT })
    return stdout
  }
  const report = () => command('report', '--tenant', 'demo', '--since', '1d')
  const records = async () => {
    const lines = (await command('export')).split('\n').filter((line) => line.startsWith('{"type":"interaction"'))
    return lines.map((line) => JSON.parse(line) as InteractionDocument)
  }
  try {
    const port = await new Promise<string>((listening, fail) => {
      let output = ''
      // What it says once it is up is read, so that it never waits, and forgotten.
      const hear = (chunk: Buffer) => {
        if (output.length > KEPT_OUTPUT) return
        output += chunk.toString()
        const port = LISTENING.exec(output)?.[1]
        if (port) listening(port)
      }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
      child.once('exit', () => fail(new Error(`the gateway did not start:\n${output}`)))
    })
    return { url: `http://127.0.0.1:${port}`, key, report, records, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
