import type { Store } from '../store/store.ts'

/** A store of which some methods do something else. */
export function overridden(store: Store, overrides: Partial<Store>): Store {
  const bound = new Map<PropertyKey, unknown>()
  return new Proxy(store, {
    get(target, name) {
      const known = bound.get(name)
      if (known !== undefined) return known
      const value = Reflect.get(overrides, name) ?? Reflect.get(target, name)
      if (typeof value !== 'function') return value
      const method = value.bind(target)
      bound.set(name, method)
      return method
    },
  })
}
