import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

it('the bill of materials has what is installed in production, and nothing else', () => {
  const bom = JSON.parse(execFileSync(process.execPath, ['scripts/sbom.mjs'], { encoding: 'utf8', maxBuffer: 1e8 }))
  const { name, version, dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
  expect(bom).toMatchObject({ bomFormat: 'CycloneDX', metadata: { component: { name, version } } })
  const names = new Set<string>(bom.components.map((one: { name: string }) => one.name))
  expect(Object.keys(dependencies).filter((one) => !names.has(one))).toEqual([])
  expect(Object.keys(devDependencies).filter((one) => names.has(one))).toEqual([])
  for (const { purl, hashes } of bom.components) {
    expect(purl).toMatch(/^pkg:npm\//)
    expect(hashes.length, purl).toBeGreaterThan(0)
  }
  const refs = new Set<string>(bom.components.map((one: Record<string, string>) => one['bom-ref']))
  const strangers = bom.dependencies.flatMap((one: { dependsOn: string[] }) =>
    one.dependsOn.filter((on) => !refs.has(on)),
  )
  expect(strangers).toEqual([])
})
