import { subscribe } from 'node:diagnostics_channel'
import type { Worker } from 'node:worker_threads'
import { expect, it, vi } from 'vitest'
import { modelThread } from '../../../src/routing/model/thread.ts'
import { TINY_1 } from '../support.ts'

it('a close waits for a thread that is just going because it had nothing to do', async () => {
  const threads: Worker[] = []
  subscribe('worker_threads', (message) => threads.push((message as { worker: Worker }).worker))
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    await modelThread.load(TINY_1)
    vi.advanceTimersToNextTimer()
  } finally {
    vi.useRealTimers()
  }
  expect(threads.map(({ threadId }) => threadId)).not.toEqual([-1])
  await modelThread.close()
  // As Node numbers those that have ended.
  expect(threads.map(({ threadId }) => threadId)).toEqual([-1])
})
