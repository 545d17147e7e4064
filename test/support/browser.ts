import { execFileSync } from 'node:child_process'
import { type Browser, chromium } from 'playwright-core'
import { findChromium } from '../../scripts/lib/chromium.mjs'

/** Undefined where there is none on the PATH. */
export const browserName = findChromium()
if (!browserName) console.warn('No Chromium on the PATH: what a browser does is not tested here.')

export const openBrowser = (): Promise<Browser> =>
  chromium.launch({
    executablePath: execFileSync('which', [String(browserName)], { encoding: 'utf8' }).trim(),
    args: ['--no-sandbox', '--disable-gpu'],
  })
