import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { afterAll, afterEach, expect, it, vi } from 'vitest'
import { trustAuthorities } from '../../src/runtime/authorities.ts'

const folder = mkdtempSync(join(tmpdir(), 'authorities-'))
afterAll(() => rmSync(folder, { recursive: true }))
afterEach(() => void vi.restoreAllMocks())

it('takes what is whole, and nothing of what is cut off or broken', () => {
  vi.spyOn(tls, 'getCACertificates').mockReturnValue(['usual'])
  const trusted = vi.spyOn(tls, 'setDefaultCACertificates').mockReturnValue()
  const [one = '', other = ''] = tls.rootCertificates
  const file = join(folder, 'some.pem')
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'
  writeFileSync(
    file,
    `${broken}\n${one.slice(0, 300)}\n${one}\n${'-----BEGIN CERTIFICATE-----\n'.repeat(10_000)}${other}\n`,
  )
  expect(trustAuthorities({ SSL_CERT_FILE: file })).toEqual([])
  expect(trusted).toHaveBeenCalledExactlyOnceWith(['usual', one, other])
})

it('says which file has none, or can’t be read, and goes on', () => {
  const trusted = vi.spyOn(tls, 'setDefaultCACertificates').mockReturnValue()
  const none = join(folder, 'none')
  const problems = trustAuthorities({ SSL_CERT_FILE: folder, SSL_CERT_DIR: `${none}:${folder}/` })
  expect(problems[0]).toBe(`SSL_CERT_FILE: ${folder} can’t be read (EISDIR); it is left out.`)
  expect(problems[1]).toBe(`SSL_CERT_DIR: ${none} can’t be read (ENOENT); it is left out.`)
  expect(trusted).toHaveBeenCalledOnce()
})

it('says that this Node takes none (24.0), and goes on', () => {
  const { setDefaultCACertificates } = tls
  Object.assign(tls, { setDefaultCACertificates: undefined })
  try {
    const [problem] = trustAuthorities({ SSL_CERT_FILE: join(folder, 'some.pem') })
    expect(problem).toMatch(/^SSL_CERT_FILE, SSL_CERT_DIR: Node v\d+\.\d+\.\d+ can’t take them, 24\.5 can/)
  } finally {
    Object.assign(tls, { setDefaultCACertificates })
  }
})
