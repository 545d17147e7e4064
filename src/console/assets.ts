import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const own = (name: string) => new URL(`public/${name}`, import.meta.url)

/** All that a browser may ask for: nothing else is ever read. Libraries are served as they were installed. */
const FILES: Readonly<Record<string, URL>> = {
  'index.html': own('index.html'),
  'style.css': own('style.css'),
  'app.js': own('app.js'),
  'api.js': own('api.js'),
  'parts.js': own('parts.js'),
  'chart.js': own('chart.js'),
  'overview.js': own('overview.js'),
  'playground.js': own('playground.js'),
  'user.js': own('user.js'),
  'models.js': own('models.js'),
  'learning.js': own('learning.js'),
  'keys.js': own('keys.js'),
  'preact.js': new URL(import.meta.resolve('htm/preact/standalone')),
  'uplot.js': new URL(import.meta.resolve('uplot/dist/uPlot.iife.min.js')),
  'uplot.css': new URL(import.meta.resolve('uplot/dist/uPlot.min.css')),
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
}

export interface Asset {
  body: Buffer
  type: string
  /** RFC 9110, 8.8.3. */
  etag: string
}

const loaded = new Map<string, Asset>()

/** Null where there is none of this name. */
export function assetOf(name: string): Asset | null {
  const file = Object.hasOwn(FILES, name) ? FILES[name] : undefined
  if (file === undefined) return null
  const known = loaded.get(name)
  if (known) return known
  const body = readFileSync(file)
  const type = TYPES[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream'
  const asset = { body, type, etag: `"${hash('sha256', body, 'base64url').slice(0, 22)}"` }
  loaded.set(name, asset)
  return asset
}

/** @internal the test weighs them all */
export const assetNames = Object.keys(FILES)
