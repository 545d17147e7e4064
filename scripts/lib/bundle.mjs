import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path'
import { rolldown } from 'rolldown'
import { DIST, ENTRY, MADE, sourceAt } from '../../bin/bundle.mjs'

/** How the source names the entry of a thread. */
const THREAD = /new URL\('(\.\/[\w-]+)\.ts', import\.meta\.url\)/g

/** How a module tells a thread where it lies (`src/openai/conversion.ts`): it is loaded there by that. */
const LOADED = 'module: import.meta.url'

/**
 * Packages of many small files that every start loads. All others stay as they were installed: what is loaded when it
 * is first needed, and what looks for files beside its own.
 */
const INSIDE = ['zod']

/** @param {string} id */
const isInside = (id) => INSIDE.some((name) => id === name || id.startsWith(`${name}/`))

/** @param {string} source */
const filesOf = (source) =>
  readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))

/**
 * Threads' entries, by the names that they get in the bundle.
 *
 * @param {string} source
 * @returns {Record<string, string>}
 */
function threadsOf(source) {
  const found = filesOf(source).flatMap((file) =>
    [...readFileSync(join(source, file), 'utf8').matchAll(THREAD)].map(([, name = '']) => [
      basename(name),
      join(source, dirname(file), `${name}.ts`),
    ]),
  )
  return Object.fromEntries(found)
}

/**
 * Modules that a thread loads by the place that it is told, by the names that they get in the bundle.
 *
 * @param {string} source
 * @returns {Record<string, string>}
 */
function loadedIn(source) {
  const found = filesOf(source).filter((file) => readFileSync(join(source, file), 'utf8').includes(LOADED))
  return Object.fromEntries(found.map((file) => [nameOf(file), join(source, file)]))
}

/** @param {string} file in the source */
const nameOf = (file) => file.replace(/\.ts$/, '').split(sep).join('-')

/**
 * Files that the source finds beside itself (scripts of Redis, the console's) stay there: for a module in the bundle,
 * `import.meta.url` is where its source lies. Entries of threads, and what they load, are in the bundle.
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
    const loaded = JSON.stringify(`./${nameOf(relative(source, id))}.js`)
    const placed = code.replaceAll(LOADED, `module: new URL(${loaded}, import.meta['url']).href`)
    // Every second part is a thread's name.
    const parts = placed.split(THREAD).map((part, i) => {
      if (i % 2 === 1) return `new URL('${part}.js', import.meta.url)`
      return part.replaceAll('import.meta.url', `new URL(${own}, import.meta.url).href`)
    })
    return { code: parts.join(''), map: null }
  },
})

/** What else a bundle depends on, by path in the repository. */
const TOOLS = ['scripts/lib/bundle.mjs', ...INSIDE.map((name) => `node_modules/${name}/package.json`)]

/**
 * Of a package inside, which asks for its text to go with each copy.
 *
 * @param {string} root
 * @param {string} name
 */
const licenceOf = (root, name) =>
  `${name}\n\n${readFileSync(join(root, 'node_modules', name, 'LICENSE'), 'utf8').trim()}\n`

/** How many others stay. */
const KEPT = 3

/**
 * @param {string} root
 * @param {string[]} paths in it
 */
const describe = (root, paths) => Object.fromEntries(paths.map((path) => [path, sourceAt(join(root, path))]))

/**
 * Puts the source together in a folder of its own, to which `MADE` then leads: a process that started before finds its
 * own files as long as its bundle stays, for the next three. What a file says is taken down before the bundler reads
 * it: one that changes meanwhile makes a bundle that is not run.
 *
 * @param {string} root the repository
 * @param {{ alone: boolean }} options whether no other stays
 */
export async function bundle(root, { alone }) {
  const source = join(root, 'src')
  const dist = join(root, DIST)
  const folder = `${Date.now().toString(36)}-${process.pid}`
  const to = join(dist, folder)
  const sources = describe(
    root,
    filesOf(source).map((file) => `src/${file.replaceAll(sep, '/')}`),
  )
  const tools = describe(root, TOOLS)
  const made = await rolldown({
    cwd: root,
    input: { [basename(ENTRY, '.js')]: join(source, 'cli/cli.ts'), ...threadsOf(source), ...loadedIn(source) },
    platform: 'node',
    external: (id) => !id.startsWith('.') && !isAbsolute(id) && !isInside(id),
    plugins: [besideSource(source, to)],
  })
  await made.write({ dir: to, format: 'esm', chunkFileNames: '[name]-[hash].js', sourcemap: true })
  await made.close()
  writeFileSync(join(to, 'LICENSES'), INSIDE.map((name) => licenceOf(root, name)).join('\n'))
  const whole = join(dist, MADE)
  writeFileSync(`${whole}.${process.pid}`, JSON.stringify({ folder, sources, tools }))
  renameSync(`${whole}.${process.pid}`, whole)
  const others = readdirSync(dist).filter((name) => name !== MADE && name !== folder)
  // Named by their time, and so sorted by it.
  for (const other of alone ? others : others.toSorted().slice(0, -KEPT)) {
    rmSync(join(dist, other), { recursive: true, force: true })
  }
}
