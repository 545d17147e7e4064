import { aptInstall, onPath } from './apt.mjs'

const NAMES = ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'chrome']

/** A browser on the PATH that tests can drive; undefined where there is none. */
export const findChromium = () => NAMES.find(onPath)

/** Installs a browser where possible; tests that need one are skipped, and say so, without it. */
export async function ensureChromium() {
  if (findChromium() || (await aptInstall('chromium-headless-shell'))) return
  process.stdout.write('No Chromium on the PATH, and none could be installed: tests in a browser are left out.\n')
}
