import { EMULATORS, startEmulators } from './index.ts'

/** `node test/emulators/run.ts [port]`: all of them, from that port on (21100 where left out), until it is stopped. */
const running = await startEmulators(EMULATORS, Number(process.argv[2] ?? 21_100))
for (const [name, { baseUrl, emulator }] of running.byName) {
  console.log(`${name.padEnd(11)} ${baseUrl}${emulator.path}  (${emulator.rules.length} rules)`)
}
console.log('Ctrl-C stops them.')
