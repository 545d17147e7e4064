import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, sep } from 'node:path'
import { rolldown } from 'rolldown'
import { DIST, ENTRY } from '../../bin/bundle.mjs'

/** How the source names the entry of a thread. */
const THREAD = /new URL\('(\.\/[\w-]+)\.ts', import\.meta\.url\)/g

/**
 * Packages of many small files that every start loads. All others stay as they were installed: what is loaded when it
 * is first needed, and what looks for files beside its own.
 */
const INSIDE = ['zod']

/** @param {string} id */
const isInside = (id) => INSIDE.some((name) => id === name || id.startsWith(`${name}/`))

/**
 * Threads' entries, by the names that they get in the bundle.
 *
 * @param {string} source
 * @returns {Record<string, string>}
 */
function threadsOf(source) {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const found = files.flatMap((file) =>
    [...readFileSync(join(source, file), 'utf8').matchAll(THREAD)].map(([, name = '']) => [
      basename(name),
      join(source, dirname(file), `${name}.ts`),
    ]),
  )
  return Object.fromEntries(found)
}

/**
 * Files that the source finds beside itself (scripts of Redis, the console's) stay there: for a module in the bundle,
 * `import.meta.url` is where its source lies. Entries of threads are in the bundle.
 *
 * @param {string} source
 * @param {string} to
 * @returns {import('rolldown').Plugin}
 */
const besideSource = (source, to) => ({
  name: 'beside-source',
  transform(code, id) {
    if (!id.startsWith(source + sep) || !code.includes('import.meta.url')) return null
    const own = JSON.stringify(relative(to, id).replaceAll(sep, '/'))
    // Every second part is a thread's name.
    const parts = code.split(THREAD).map((part, i) => {
      if (i % 2 === 1) return `new URL('${part}.js', import.meta.url)`
      return part.replaceAll('import.meta.url', `new URL(${own}, import.meta.url).href`)
    })
    return { code: parts.join(''), map: null }
  },
})

/**
 * Puts the source together in a folder of its own, to which the entry then leads: a process that started before finds
 * its own files as long as the one before stays.
 *
 * @param {string} root the repository
 * @param {{ beside: boolean }} options whether the one before stays
 */
export async function bundle(root, { beside }) {
  const source = join(root, 'src')
  const dist = join(root, DIST)
  const entry = join(dist, ENTRY)
  const before = existsSync(entry) ? readFileSync(entry, 'utf8') : ''
  const name = `${Date.now().toString(36)}-${process.pid}`
  const to = join(dist, name)
  const made = await rolldown({
    cwd: root,
    input: { [basename(ENTRY, '.js')]: join(source, 'cli/cli.ts'), ...threadsOf(source) },
    platform: 'node',
    external: (id) => !id.startsWith('.') && !id.startsWith('/') && !isInside(id),
    plugins: [besideSource(source, to)],
  })
  await made.write({ dir: to, format: 'esm', chunkFileNames: '[name]-[hash].js', sourcemap: true })
  await made.close()
  writeFileSync(`${entry}.${process.pid}`, `import './${name}/${ENTRY}'\n`)
  renameSync(`${entry}.${process.pid}`, entry)
  for (const other of readdirSync(dist)) {
    if (other === ENTRY || other === name || (beside && before.includes(other))) continue
    rmSync(join(dist, other), { recursive: true })
  }
}
