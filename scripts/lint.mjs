#!/usr/bin/env node
// Checks form: biome, the rules of imports between the folders of src/ (scripts/lint/rules.mjs), the width of comments
// and the words for people (scripts/lint/text.mjs). Known violations are listed in scripts/lint/exceptions.json; an
// exception that is no longer needed is an error, so the list only shrinks.
//   node scripts/on-node.mjs scripts/lint.mjs
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib/paths.mjs'
import { importsOf } from './lint/imports.mjs'
import { brokenRules, kindsByName } from './lint/rules.mjs'
import { textProblems } from './lint/text.mjs'

const TEXT = [
  '{src,test,scripts,demo,bin,integrations,router-model}/**/*.{ts,mjs,lua,py}',
  '{config,docker}/**/*.{yaml,yml}',
  'docs/**/*.md',
  'router-model/*.md',
  'test/**/*.md',
  '*.{md,ts}',
]
const NOT_OURS = ['fixtures', 'node_modules', '.venv', 'artifacts', 'results', 'embedders', '.cache']

const biome = join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome')
const { status } = spawnSync(process.execPath, [biome, 'check', '.'], { cwd: root, stdio: 'inherit' })

const find = (/** @type {string[]} */ patterns) =>
  globSync(patterns, { cwd: root, exclude: (path) => NOT_OURS.some((name) => path.split('/').includes(name)) }).sort()
const files = find(['src/**/*.ts'])
const kinds = globSync('*', { cwd: join(root, 'src', 'providers', 'kinds') })
const found = [
  ...brokenRules(importsOf(root, files), files),
  ...files.flatMap((file) => kindsByName(file, readFileSync(join(root, file), 'utf8'), kinds)),
  ...find(TEXT).flatMap((file) => textProblems(file, readFileSync(join(root, file), 'utf8'))),
]

/** @type {string[]} a problem of imports as it is printed; for text, its file */
const exceptions = JSON.parse(readFileSync(join(root, 'scripts', 'lint', 'exceptions.json'), 'utf8'))
const used = new Set()
const problems = found.filter((problem) => {
  const exception = exceptions.find((entry) => problem === entry || problem.startsWith(`${entry}:`))
  if (exception !== undefined) used.add(exception)
  return exception === undefined
})
for (const problem of problems) console.error(problem)
const stale = exceptions.filter((exception) => !used.has(exception))
for (const exception of stale) console.error(`scripts/lint/exceptions.json: no longer needed: "${exception}"`)
console.log(`Imports and text: ${problems.length} problems, ${exceptions.length} exceptions.`)
process.exitCode = status === 0 && problems.length === 0 && stale.length === 0 ? 0 : 1
