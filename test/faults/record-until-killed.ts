import { writeSync } from 'node:fs'
import { openStore } from '../../src/store/index.ts'
import { Recorder } from '../../src/store/recorder/recorder.ts'
import { anInteraction } from '../store/records.ts'

// Records for ever, and says the id of each record once it has been told that it is recorded.
const { store, spool, tenants } = JSON.parse(process.argv[2] ?? '')
const recorder = new Recorder(await openStore(store), spool)
setInterval(() => {
  for (const tenant of tenants) {
    const row = anInteraction({ tenant })
    void recorder.interaction(row).then(() => writeSync(1, `${row.id}\n`))
  }
}, 1)
