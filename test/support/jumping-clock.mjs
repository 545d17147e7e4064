// Loaded into the gateway under test, beside its own code: its wall clock is off by the seconds in the file that
// CLOCK_FILE names.
import { readFileSync, writeFileSync } from 'node:fs'

const file = process.env.CLOCK_FILE ?? ''
const Real = Date
// What the process does first is done by that clock, too.
let offset = Number(readFileSync(file, 'utf8')) * 1000
setInterval(() => {
  const now = Number(readFileSync(file, 'utf8')) * 1000
  if (now === offset) return
  offset = now
  writeFileSync(`${file}.seen`, `${now}`)
}, 20).unref()

const now = () => Real.now() + offset
globalThis.Date = new Proxy(Real, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length > 0 ? args : [now()], newTarget),
  get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
})
