import { describe, test } from 'vitest'

// Waits for the limits of tenants, keys and users (src/store/limits.ts), which the gateway does not enforce yet.
describe('budget race', () => {
  test.todo('100 concurrent requests against a budget for ten: what is admitted never exceeds the budget')
  test.todo('the same over two processes on one Redis')
  test.todo('a refused request gets 429 insufficient_quota, and the SDK raises RateLimitError without trying again')
})

describe('crash between reserve and settle', () => {
  test.todo('kill -9 in flight: the reservation expires, and the budget recovers')
})

describe('the same Idempotency-Key', () => {
  test.todo('again after the answer: the same bytes, one upstream hit')
  test.todo('while the first is in flight: 409')
  test.todo('with another body: 422')
  test.todo("is the tenant's own: another tenant's same key is another request")
})
