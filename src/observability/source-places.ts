import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'

/** As V8 names a place in a module. */
const PLACE = /(file:\/\/[^\s()]+\.js):(\d+):(\d+)/g

const maps = new Map<string, SourceMap | null>()

/**
 * The frames of a stack with the places of the sources, where they name those of a bundle. Node's own
 * `--enable-source-maps` makes each start a tenth longer; this reads a map when a mistake is told.
 */
export function inSources(frames: string): string {
  return frames.replace(PLACE, (place, url: string, line: string, column: string) => {
    const origin = mapOf(url)?.findOrigin(Number(line), Number(column))
    // Maps of libraries may name anything, and an error is told in any case.
    if (!origin || !('fileName' in origin) || !URL.canParse(origin.fileName, url)) return place
    return `${new URL(origin.fileName, url).href}:${origin.lineNumber}:${origin.columnNumber}`
  })
}

/** Null where there is none, as of a library. */
function mapOf(url: string): SourceMap | null {
  let map = maps.get(url)
  if (map === undefined) {
    try {
      map = new SourceMap(JSON.parse(readFileSync(new URL(`${url}.map`), 'utf8')))
    } catch {
      map = null
    }
    maps.set(url, map)
  }
  return map
}
