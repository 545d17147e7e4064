import { execFile } from 'node:child_process'
import { inVenv } from '../../scripts/lib/paths.mjs'

export interface PythonResult {
  code: number
  stdout: string
  /** Without line breaks that a terminal's width put in. */
  stderr: string
}

/** The Python package in its own environment; what it is told goes in as arguments. */
export function python(...args: string[]): Promise<PythonResult> {
  return new Promise((resolve, reject) => {
    // Training on two threads would take the time of the tests beside it.
    const env = { ...process.env, OMP_NUM_THREADS: '1', NO_COLOR: '1' }
    execFile(inVenv('python'), args, { env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error)
      else resolve({ code: error ? Number(error.code) : 0, stdout, stderr: stderr.replace(/\s+/g, ' ') })
    })
  })
}
