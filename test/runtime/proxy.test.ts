import { expect, it } from 'vitest'
import { proxyFor } from '../../src/runtime/proxy.ts'

const PROXY = 'http://proxy.corp:3128'
const through = (url: string, env: Record<string, string>, setting?: string) => proxyFor(url, setting, env)

it.each([
  ['https', { HTTPS_PROXY: PROXY }, PROXY],
  ['https', { https_proxy: PROXY, HTTPS_PROXY: 'http://other' }, PROXY],
  ['https', { HTTP_PROXY: PROXY }, null],
  ['http', { HTTP_PROXY: PROXY }, PROXY],
  ['http', { HTTPS_PROXY: PROXY }, null],
  ['https', { ALL_PROXY: PROXY }, PROXY],
  ['https', { HTTPS_PROXY: 'proxy.corp:3128' }, PROXY],
  ['https', { HTTPS_PROXY: '' }, null],
  ['https', {}, null],
])('%s://… with %j', (scheme, env, expected) => {
  expect(through(`${scheme}://api.example.com/v1`, env as Record<string, string>)).toBe(expected)
})

it.each([
  // Names: with their subdomains, as curl and Go have it.
  ['api.example.com', 'example.com', true],
  ['api.example.com', '.example.com', true],
  ['api.example.com', '*.example.com', true],
  ['api.example.com', 'EXAMPLE.com', true],
  ['api.example.com.', 'example.com', true],
  ['notexample.com', 'example.com', false],
  ['example.com', 'other.com, example.com', true],
  ['example.com', 'other.com example.com', true],
  ['example.com', '*', true],
  ['example.com:8443', 'example.com:8443', true],
  ['example.com', 'example.com:443', true],
  ['example.com', 'example.com:8443', false],
  // Addresses and networks.
  ['10.1.2.3', '10.1.2.3', true],
  ['10.1.2.3', '10.0.0.0/8', true],
  ['11.1.2.3', '10.0.0.0/8', false],
  ['10.1.2.3', '1.2.3', false],
  ['[fd00::1]', 'fd00::/8', true],
  ['[fd00::1]', 'fd00::1', true],
  ['[fd00::1]', '[fd00::1]:443', true],
  ['[fd00::1]', '[fd00::1]:8443', false],
  ['[2001:db8::1]', 'fd00::/8', false],
  ['example.com', '10.0.0.0/8', false],
  ['10.1.2.3', '10.0.0.0/99', false],
  ['10.1.2.3', 'nonsense/8', false],
  // Never by the environment's proxy, whatever it says.
  ['localhost', '', true],
  ['api.localhost', '', true],
  ['127.0.0.1:8080', '', true],
  ['127.8.8.8', '', true],
  ['[::1]:9', '', true],
  ['localhost.example.com', '', false],
])('%s, NO_PROXY=%s: excepted %s', (host, NO_PROXY, excepted) => {
  expect(through(`https://${host}/v1`, { HTTPS_PROXY: PROXY, NO_PROXY })).toBe(excepted ? null : PROXY)
})

it('a provider’s own setting comes first, for loopback, too', () => {
  expect(through('https://api.example.com', { HTTPS_PROXY: PROXY }, 'off')).toBe(null)
  expect(through('https://127.0.0.1', {}, 'http://own:1')).toBe('http://own:1')
  expect(through('https://example.com', { NO_PROXY: '*' }, 'http://own:1')).toBe('http://own:1')
})
