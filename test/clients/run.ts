import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cache, inVenv, root } from '../../scripts/lib/paths.mjs'
import { startLane } from './lane.ts'

/**
 * Real clients, unmodified, each in an environment of its own: a folder here with a pinned `package.json` or
 * `requirements.txt` and a `check.mjs` or `check.py`, which gets the gateway by BASE_URL and KEY and must end with 0.
 * Where it uses USER_ID, the gateway must have recorded requests of that user.
 *
 *     npm run test:clients                  all
 *     npm run test:clients -- codex         some
 */
const HERE = dirname(fileURLToPath(import.meta.url))
const HOME = join(cache, 'clients')
const [CHECK_MS, INSTALL_MS] = [300_000, 1_800_000]

const wanted = process.argv.slice(2)
const clients = readdirSync(HERE, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .filter((name) => wanted.length === 0 || wanted.includes(name))

interface Ran {
  code: number
  output: string
}

function run(command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv, timeout: number): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (bytes) => {
        output += bytes
      })
    }
    child.once('error', (error) => resolve({ code: 1, output: output + error.message }))
    child.once('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

const checkOf = (name: string) => (existsSync(join(HERE, name, 'package.json')) ? 'check.mjs' : 'check.py')

const namesItsUser = (name: string) => readFileSync(join(HERE, name, checkOf(name)), 'utf8').includes('USER_ID')

/** Installs a client where it is not installed as pinned. Returns how to run its check, or why that can't be. */
async function install(name: string): Promise<{ command: string; args: string[]; cwd: string } | Ran> {
  const [from, to] = [join(HERE, name), join(HOME, name)]
  const isNode = existsSync(join(from, 'package.json'))
  const pins = readFileSync(join(from, isNode ? 'package.json' : 'requirements.txt'), 'utf8')
  const mark = join(to, '.installed')
  const isInstalled = existsSync(mark) && readFileSync(mark, 'utf8') === pins
  if (!isInstalled) rmSync(to, { recursive: true, force: true })
  mkdirSync(to, { recursive: true })
  cpSync(from, to, { recursive: true })
  const python = join(to, 'venv', 'bin', 'python')
  if (!isInstalled) {
    const steps: [string, string[]][] = isNode
      ? [['npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock']]]
      : [
          [inVenv('python'), ['-m', 'venv', join(to, 'venv')]],
          [python, ['-m', 'pip', 'install', '--disable-pip-version-check', '--quiet', '-r', 'requirements.txt']],
        ]
    for (const [command, args] of steps) {
      const done = await run(command, args, to, process.env, INSTALL_MS)
      if (done.code !== 0) return { code: done.code, output: `it could not be installed:\n${done.output}` }
    }
    writeFileSync(mark, pins)
  }
  return isNode
    ? { command: process.execPath, args: ['check.mjs'], cwd: to }
    : { command: python, args: ['check.py'], cwd: to }
}

const lane = await startLane()
const failed: string[] = []
for (const name of clients) {
  const started = Date.now()
  const ready = await install(name)
  const env = { ...process.env, ...lane.env(name), HOME: join(HOME, name, 'home'), REPOSITORY: root }
  mkdirSync(env.HOME, { recursive: true })
  let { code, output } = 'command' in ready ? await run(ready.command, ready.args, ready.cwd, env, CHECK_MS) : ready
  let seen = ''
  if (code === 0 && namesItsUser(name)) {
    try {
      seen = (await lane.apisOf(name)).join(', ')
    } catch (error) {
      code = 1
      output += String(error)
    }
  }
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${((Date.now() - started) / 1000).toFixed(0)} s) ${seen}`)
  if (code !== 0) {
    failed.push(name)
    console.log(output.slice(-6_000))
  }
}
await lane.close()
process.exitCode = failed.length > 0 || clients.length === 0 ? 1 : 0
