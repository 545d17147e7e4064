import { expect, test } from 'vitest'
import { isThisProcess, lifeOf, markOfThisProcess } from '../../src/runtime/process-mark.ts'
import { aZombie } from '../support/zombie.ts'

const own = markOfThisProcess()
const { host, pid } = own
const onLinux = test.skipIf(process.platform !== 'linux')

test('this process is alive, as itself, also by what earlier versions left of it', () => {
  for (const mark of [own, { host, pid }, { host, pid, startedAt: '' }, { host, pid, startedAt: own.startedAt }]) {
    expect(lifeOf(mark)).toBe('alive')
    expect(isThisProcess(mark)).toBe(true)
  }
})

onLinux('one that was given the id of another is not that one', () => {
  expect(lifeOf({ ...own, startedAt: '1' })).toBe('gone')
  expect(isThisProcess({ ...own, startedAt: '1' })).toBe(false)
  expect(lifeOf({ host, pid: 0x7ffffffe, startedAt: '1' })).toBe('gone')
})

onLinux('on another host, in another container of that name, or by no mark at all, nothing is known', () => {
  expect(own.namespace).toMatch(/^pid:\[\d+]$/)
  for (const mark of [{ ...own, host: 'elsewhere' }, { ...own, namespace: 'pid:[1]' }, { host }, {}, null]) {
    expect(lifeOf(mark)).toBe('unknown')
    expect(isThisProcess(mark)).toBe(false)
  }
})

test('by what is no id of a process nothing is known', () => {
  for (const wrong of [0, -1, 1.5, String(pid), null]) expect(lifeOf({ ...own, pid: wrong as number })).toBe('unknown')
})

onLinux('a process that was killed and that its parent does not wait for is gone', async () => {
  const { mark, bury } = await aZombie()
  expect(process.kill(mark.pid, 0)).toBe(true)
  expect(lifeOf(mark)).toBe('gone')
  bury()
})
