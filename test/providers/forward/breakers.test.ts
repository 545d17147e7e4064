import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { Breakers } from '../../../src/providers/forward/breakers.ts'
import { openStore } from '../../../src/store/index.ts'
import type { Store } from '../../../src/store/store.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { candidate } from '../../support/relay-harness.ts'

const OPEN_MS = 1_000
const one = candidate('one', 'p')

/** A replica's breaker and how its deployment is from there. */
interface View {
  breakers: Breakers
  isWell: boolean
  probes: number
}

/** Asks unless turned away; whether it got to ask. */
async function ask(view: View, meanwhile: () => unknown = () => {}): Promise<boolean> {
  const breaker = view.breakers.of(one)
  if (breaker.isOpen) return false
  view.probes++
  await breaker.run(async () => {
    await meanwhile()
    return { health: view.isWell ? ('well' as const) : ('failed' as const) }
  })
  return true
}

const stateOf = ({ breakers }: View) => breakers.of(one).state

/** Views that hear each other at once, or not at all. */
function viewsOf(count: number, { hears = () => true }: { hears?: (from: number) => boolean } = {}): View[] {
  const views: View[] = Array.from({ length: count }, (_, index) => ({
    isWell: false,
    probes: 0,
    breakers: new Breakers({ failures: 2, open_ms: OPEN_MS }, undefined, (deployment, ms) => {
      if (!hears(index)) return
      for (const [other, { breakers }] of views.entries()) if (other !== index) breakers.hear(deployment, ms)
    }),
  }))
  return views
}

async function fail(view: View): Promise<void> {
  for (let i = 0; i < 2; i++) await ask(view)
  view.probes = 0
}

const all = async (views: View[]) => {
  const asked: boolean[] = []
  for (const view of views) asked.push(await ask(view))
  return asked.filter(Boolean).length
}

describe('replicas that hear each other', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('open with the first of them, and wait a little longer than it does', async () => {
    const views = viewsOf(3)
    await fail(views[0]!)
    expect(views.map(stateOf)).toEqual(['open', 'open', 'open'])
    vi.advanceTimersByTime(OPEN_MS + 10)
    expect(views.map(stateOf)).toEqual(['half-open', 'open', 'open'])
  })

  test('send one probe in all, and close when it is good', async () => {
    const views = viewsOf(3)
    await fail(views[0]!)
    for (const view of views) view.isWell = true
    vi.advanceTimersByTime(OPEN_MS + 10)
    await ask(views[0]!, async () => {
      // The others' time is over too, while the probe is out.
      vi.advanceTimersByTime(0.9 * OPEN_MS)
      expect(await all(views)).toBe(0)
    })
    expect(views.map(({ probes }) => probes)).toEqual([1, 0, 0])
    expect(views.map(stateOf)).toEqual(['closed', 'closed', 'closed'])
    expect(await all(views)).toBe(3)
  })

  test('stay open when the probe fails', async () => {
    const views = viewsOf(3)
    await fail(views[0]!)
    vi.advanceTimersByTime(OPEN_MS + 10)
    expect(await all(views)).toBe(1)
    expect(views.map(stateOf)).toEqual(['open', 'open', 'open'])
  })

  test('are half-open, not closed, where nobody else probes: each sends one of its own', async () => {
    const views = viewsOf(3)
    await fail(views[0]!)
    vi.advanceTimersByTime(2 * OPEN_MS)
    const [, second] = views as [View, View, View]
    expect(stateOf(second)).toBe('half-open')
    await ask(second, async () => expect(await ask(second)).toBe(false))
    expect(second.probes).toBe(1)
    // One failure was enough, not two as of a closed one.
    expect(stateOf(second)).toBe('open')
  })

  test('are not kept from asking for themselves by one who alone can’t reach it', async () => {
    const [lame, sound] = viewsOf(2) as [View, View]
    sound.isWell = true
    await fail(lame)
    for (let waited = 0; waited < 2 * OPEN_MS; waited += 50) {
      vi.advanceTimersByTime(50)
      await ask(lame)
    }
    vi.advanceTimersByTime(50)
    expect(await ask(sound)).toBe(true)
    expect(stateOf(sound)).toBe('closed')
    // It is due again at once, and what it finds there is its own affair.
    expect(stateOf(lame)).toBe('half-open')
  })

  test('a closed one elsewhere does not close what this one found broken', async () => {
    let connected = false
    const [first, second] = viewsOf(2, { hears: () => connected }) as [View, View]
    await fail(first)
    await fail(second)
    connected = true
    first.isWell = true
    vi.advanceTimersByTime(OPEN_MS + 10)
    await ask(first)
    expect([first, second].map(stateOf)).toEqual(['closed', 'half-open'])
  })

  test('a try that began before it opened changes nothing when it ends', async () => {
    const [first, second] = viewsOf(2) as [View, View]
    second.isWell = true
    await ask(second, () => fail(first))
    expect(stateOf(second)).toBe('open')
  })
})

describe('two replicas on a real Redis', () => {
  let redis: RedisServer
  const stores: Store[] = []
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(async () => {
    for (const store of stores) await store.close()
    await redis.discard()
  })

  test('open, probe once and close together', async () => {
    const view = async (replica: string): Promise<View> => {
      const store = await openStore({ kind: 'redis', url: redis.url, command_timeout_ms: 2_000, retention_days: 90 })
      stores.push(store)
      const breakers = new Breakers({ failures: 2, open_ms: OPEN_MS }, undefined, (deployment, ms) => {
        void store.publish({ kind: 'breaker', deployment, ms, from: replica })
      })
      store.subscribe((change) => {
        if (change.kind === 'breaker' && change.from !== replica) breakers.hear(change.deployment, change.ms)
      })
      return { breakers, isWell: true, probes: 0 }
    }
    const [a, b] = await Promise.all([view('a'), view('b')])
    a.isWell = false
    // Until the subscription stands, nothing is heard.
    await vi.waitFor(async () => {
      if (stateOf(a) === 'half-open') await ask(a)
      if (stateOf(a) === 'closed') await fail(a)
      expect(stateOf(b)).toBe('open')
    }, 20_000)
    a.isWell = true
    const before = b.probes
    await vi.waitFor(() => expect(stateOf(a)).toBe('half-open'), 20_000)
    await ask(a, nextTurn)
    await vi.waitFor(() => expect(stateOf(b)).toBe('closed'), 20_000)
    expect(b.probes).toBe(before)
  })
})
