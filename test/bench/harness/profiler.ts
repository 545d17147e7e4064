/** As the inspector's protocol has it (`Profiler.Profile`). */
export interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number }; children?: number[] }[]
  samples: number[]
  /** Microseconds since the sample before. */
  timeDeltas: number[]
}

const INTERVAL_US = 100

/** Samples the main thread of the Node process whose inspector listens on `port` while `work` runs. */
export async function profiled(port: number, work: () => Promise<void>): Promise<Profile> {
  const listed = await fetch(`http://127.0.0.1:${port}/json/list`)
  const [{ webSocketDebuggerUrl }] = (await listed.json()) as [{ webSocketDebuggerUrl: string }]
  const socket = new WebSocket(webSocketDebuggerUrl)
  await new Promise((open, fail) => {
    socket.addEventListener('open', open, { once: true })
    socket.addEventListener('error', () => fail(new Error('The inspector does not answer.')), { once: true })
  })
  let asked = 0
  const ask = (method: string, params: object = {}) =>
    new Promise<{ profile: Profile }>((done, fail) => {
      const id = ++asked
      const read = ({ data }: MessageEvent) => {
        const answer = JSON.parse(String(data))
        if (answer.id !== id) return
        socket.removeEventListener('message', read)
        if (answer.error) fail(new Error(`${method}: ${answer.error.message}`))
        else done(answer.result)
      }
      socket.addEventListener('message', read)
      socket.send(JSON.stringify({ id, method, params }))
    })
  try {
    await ask('Profiler.enable')
    await ask('Profiler.setSamplingInterval', { interval: INTERVAL_US })
    await ask('Profiler.start')
    await work()
    return (await ask('Profiler.stop')).profile
  } finally {
    socket.close()
  }
}
