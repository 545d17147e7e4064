// Says which process it is, and stays until it is killed.
import { markOfThisProcess } from '../../src/runtime/process-mark.ts'

console.log(JSON.stringify(markOfThisProcess()))
setInterval(() => {}, 60_000)
