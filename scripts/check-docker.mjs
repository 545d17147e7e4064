#!/usr/bin/env node
// Carries out docker/Dockerfile by hand, for machines without a Docker engine: the same copies and commands in an empty
// folder, then the gateway as a user that may write to the data folder alone, its health check, and SIGTERM.
//   --quick   takes node_modules from this repository instead of running npm ci
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findNode } from '../bin/node-runtime.mjs'
import { parseCopy, readDockerfile } from './lib/dockerfile.mjs'
import { freePort } from './lib/free-port.mjs'
import { root } from './lib/paths.mjs'

/** The image's own user, and one as OpenShift makes them up: any number, in group 0. */
const USERS = [
  { uid: 1000, gid: 1000 },
  { uid: 1_000_680_000, gid: 0 },
]
const READY_MS = 60_000
const quick = process.argv.includes('--quick')
const asRoot = process.getuid?.() === 0

const work = mkdtempSync(join(tmpdir(), 'persona-router-image-'))
const data = join(work, 'data')
const bin = join(work, 'bin')
const node = join(bin, 'node')

/** @typedef {{ folder: string, env: Record<string, string>, lists: Record<string, string[]> }} Stage */

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  throw new Error(message)
}

/** @param {string} command @param {string[]} args @param {import('node:child_process').SpawnSyncOptions} options */
function run(command, args, options) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', ...options })
  if (status !== 0) fail(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`)
}

/** @param {Stage} stage @param {string} command */
function runInstruction(stage, command) {
  if (quick && command.includes('npm ci')) {
    const link = spawnSync('cp', ['-al', join(root, 'node_modules'), stage.folder])
    if (link.status !== 0) run('cp', ['-a', join(root, 'node_modules'), stage.folder], {})
    return
  }
  const env = { ...process.env, ...stage.env, PATH: [bin, process.env.PATH].join(delimiter) }
  // Only root can change owners; other users own the files already.
  const possible = asRoot ? command : command.replace(/ && chown.*/, '')
  run('sh', ['-c', possible.replaceAll('/data', data)], { cwd: stage.folder, env })
}

/** @param {Stage} stage @param {string} rest @param {Map<string, Stage>} stages */
function copyInstruction(stage, rest, stages) {
  const { from, sources, target } = parseCopy(rest)
  for (const source of sources) {
    const base = from ? stages.get(from)?.folder : root
    const path = join(base ?? fail(`No stage ${from}`), source.replace(/^\/app\//, ''))
    if (!existsSync(path)) fail(`COPY ${rest}: there is no ${source}`)
    const named = basename(source) === basename(target) || !target.endsWith('/')
    const to = join(stage.folder, named && target !== './' ? target : join(target, basename(source)))
    mkdirSync(dirname(to), { recursive: true })
    run('cp', [from ? '-al' : '-a', path, to.replace(/\/$/, '')], {})
  }
}

/** A Node for the user without rights, who may not be able to reach ours. */
function placeNode() {
  const path = findNode(root)
  if (!path) return fail('Needs Node 24 in node_modules: npm run setup')
  mkdirSync(bin)
  try {
    linkSync(path, node)
  } catch {
    copyFileSync(path, node)
  }
}

/** @returns {Stage} the last one */
function build() {
  /** @type {Map<string, Stage>} */
  const stages = new Map()
  /** @type {Stage | undefined} */
  let stage
  for (const { name, rest } of readDockerfile(join(root, 'docker', 'Dockerfile'))) {
    if (name === 'FROM') {
      const alias = / as (\S+)$/i.exec(rest)?.[1] ?? 'image'
      stage = { folder: join(work, alias), env: {}, lists: {} }
      stages.set(alias, stage)
      mkdirSync(stage.folder)
      continue
    }
    if (!stage) throw new Error(`${name} before FROM`)
    console.log(`  ${name} ${rest}`)
    if (name === 'RUN') runInstruction(stage, rest)
    else if (name === 'COPY') copyInstruction(stage, rest, stages)
    else if (name === 'ENV')
      Object.assign(stage.env, Object.fromEntries(rest.split(' ').map((pair) => pair.split('='))))
    else if (rest.includes('[')) stage.lists[name] = JSON.parse(rest.slice(rest.indexOf('[')))
  }
  return stage ?? fail('No FROM')
}

/** @param {Stage} image @param {typeof USERS[number]} user */
async function tryOut({ folder, env, lists }, user) {
  const port = await freePort()
  const options = {
    cwd: folder,
    env: { ...env, PATH: `${bin}:/usr/bin:/bin`, HOME: '/nonexistent', DATA_DIR: data, PORT: String(port) },
    ...(asRoot ? { uid: user.uid, gid: user.gid } : {}),
  }
  const [command = '', ...args] = [...(lists.ENTRYPOINT ?? []), ...(lists.CMD ?? [])]
  const [check = '', ...checkArgs] = lists.HEALTHCHECK ?? []
  const gateway = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  gateway.stdout.on('data', (chunk) => (output += chunk))
  gateway.stderr.on('data', (chunk) => (output += chunk))
  const exit = new Promise((resolve) => gateway.on('exit', (code, signal) => resolve(code ?? signal)))

  try {
    const deadline = Date.now() + READY_MS
    while (spawnSync(check, checkArgs, options).status !== 0) {
      if (gateway.exitCode !== null) fail(`The gateway ended with ${gateway.exitCode}:\n${output}`)
      if (Date.now() > deadline) fail(`Not healthy within ${READY_MS / 1000} s:\n${output}`)
      await sleep(100)
    }
    console.log('  healthy')
    if (asRoot && spawnSync('touch', [join(folder, 'src')], options).status === 0) fail('The user can write to /app')
    gateway.kill('SIGTERM')
    const ended = await Promise.race([exit, sleep(READY_MS, 'nothing', { ref: false })])
    if (ended !== 0) fail(`After SIGTERM it ended with ${ended}:\n${output}`)
    console.log('  ended cleanly on SIGTERM')
  } finally {
    gateway.kill('SIGKILL')
  }
}

try {
  chmodSync(work, 0o755)
  placeNode()
  const image = build()
  for (const user of asRoot ? USERS : USERS.slice(0, 1)) {
    console.log(`  as user ${user.uid}, group ${user.gid}`)
    await tryOut(image, user)
    // Each run begins with an empty volume.
    for (const name of readdirSync(data)) rmSync(join(data, name), { recursive: true })
  }
  console.log('docker/Dockerfile: all steps work.')
} catch (error) {
  console.error(`docker/Dockerfile: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
} finally {
  rmSync(work, { recursive: true, force: true })
}
