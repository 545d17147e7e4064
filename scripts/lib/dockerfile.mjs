import { readFileSync } from 'node:fs'

/**
 * The instructions of a Dockerfile, comments and line continuations taken out.
 *
 * @param {string} path
 * @returns {{ name: string, rest: string }[]}
 */
export function readDockerfile(path) {
  const text = readFileSync(path, 'utf8')
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', ...rest] = line.trim().split(/\s+/)
      return { name: name.toUpperCase(), rest: rest.join(' ') }
    })
}

/**
 * @param {string} rest of a COPY instruction
 * @returns {{ from: string | undefined, sources: string[], target: string }}
 */
export function parseCopy(rest) {
  const words = rest.split(' ')
  const from = words[0]?.startsWith('--from=') ? words.shift()?.slice('--from='.length) : undefined
  return { from, sources: words.slice(0, -1), target: words[words.length - 1] ?? '' }
}
