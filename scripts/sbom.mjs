#!/usr/bin/env node
// Prints what the container's image has of npm packages, in CycloneDX 1.5: `npm run -s sbom > sbom.json`.
// npm's own `--omit dev` also leaves out what production and development have in common, so its whole list is filtered.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib/paths.mjs'

const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
const installed = new Set(
  Object.entries(packages).flatMap(([path, { name, version, dev, optional, devOptional }]) =>
    path === '' || dev || optional || devOptional ? [] : [`${name ?? path.split('node_modules/').at(-1)}@${version}`],
  ),
)
const args = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only']
const bom = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }))
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

const components = bom.components.filter((/** @type {{ 'bom-ref': string }} */ one) => installed.has(one['bom-ref']))
const kept = new Set(components.map((/** @type {{ 'bom-ref': string }} */ one) => one['bom-ref']))
const self = bom.metadata.component['bom-ref']
const dependencies = bom.dependencies
  .filter((/** @type {{ ref: string }} */ { ref }) => kept.has(ref) || ref === self)
  .map((/** @type {{ ref: string, dependsOn: string[] }} */ { ref, dependsOn }) => ({
    ref,
    dependsOn: dependsOn.filter((on) => kept.has(on)),
  }))
const metadata = { ...bom.metadata, component: { ...bom.metadata.component, name, version } }
process.stdout.write(`${JSON.stringify({ ...bom, metadata, components, dependencies }, null, 2)}\n`)
