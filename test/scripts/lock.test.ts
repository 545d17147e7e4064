import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../../scripts/lib/paths.mjs'

interface Entry {
  optionalDependencies?: Record<string, string>
  resolved?: string
  integrity?: string
  hasInstallScript?: boolean
}

const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Entry>
}

/** Whether `name` is found from the package at `path`, as Node would look for it. */
function resolves(path: string, name: string): boolean {
  if (`${path ? `${path}/` : ''}node_modules/${name}` in packages) return true
  return path !== '' && resolves(path.replace(/\/?node_modules\/(?:@[^/]+\/)?[^/]+$/, ''), name)
}

it('package-lock.json holds the packages of every platform (npm run lock:npm)', () => {
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter((name) => !resolves(path, name)),
  )
  expect(missing).toEqual([])
})

it('package-lock.json serves every mirror of the registry', () => {
  expect(Object.values(packages).flatMap(({ resolved }) => resolved ?? [])).toEqual([])
})

it('package-lock.json pins every package by its hash, and none but one wants to run a script when installed', () => {
  const entries = Object.entries(packages).filter(([path]) => path !== '')
  expect(entries.length).toBeGreaterThan(100)
  expect(entries.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'))).toEqual([])
  // It would fetch CUDA's libraries (docs/gpu.md); a new one is looked at first.
  const scripted = entries.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path)
  expect(scripted).toEqual(['node_modules/onnxruntime-node'])
})
