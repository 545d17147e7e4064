import { describe, expect, test } from 'vitest'
import { addressOf } from '../../src/pipeline/address.ts'

describe('a base URL', () => {
  test.each([
    '/v1/chat/completions',
    '/chat/completions',
    '/v1/v1/chat/completions',
    '/v1/v1/v1/chat/completions',
    '/v1/chat/completions/',
    '/chat/completions//',
    '//v1//chat/completions',
    '/v1//chat/completions',
    '/openai/v1/chat/completions',
    '/openai/chat/completions',
  ])('%s', (path) => expect(addressOf(path)).toEqual({ path: '/v1/chat/completions', deployment: null }))

  test.each([
    ['/openai/deployments/gpt-4o/chat/completions', '/v1/chat/completions', 'gpt-4o'],
    ['/openai/deployments/auto%3Adefault/embeddings/', '/v1/embeddings', 'auto:default'],
    ['/openai/deployments/meta%2Fllama/completions', '/v1/completions', 'meta/llama'],
    ['/openai/deployments/%zz/chat/completions', '/v1/chat/completions', '%zz'],
    ['/openai/deployments/x', '/v1/deployments/x', null],
    ['/openai/deployments', '/v1/deployments', null],
  ])('Azure: %s', (given, path, deployment) => expect(addressOf(given)).toEqual({ path, deployment }))

  test.each([
    '/',
    '/healthz',
    '/readyz',
    '/metrics',
    '/admin/keys',
    '/console',
    '/v2/chat',
    '/secrets',
    '/v1/models/v1',
  ])('%s stays', (path) => expect(addressOf(path)).toEqual({ path, deployment: null }))
})
