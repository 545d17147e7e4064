import type { Provider } from './provider.ts'

/** A provider that can't be used as configured, and says why. */
export const offProvider = (name: string, unavailable: string): Provider => ({
  name,
  unavailable,
  chat: () => Promise.reject(new Error(`provider '${name}' is off: ${unavailable}`)),
  close: async () => {},
})
