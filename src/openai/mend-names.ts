import { isObject } from './is-object.ts'

type Fields = Record<string, unknown>

/** What has come of the call at a place. */
interface Come {
  id: string | null
  name: string
  /** Its arguments, as long as they may be told again; null once they are too long for that. */
  args: string | null
  /** Its pieces so far, as one: its name, or the rest of that, has not come. */
  held: Fields | null
}

/** Arguments longer than this are not compared, and more of them do not wait for their names. */
const MAX_COMPARED_CHARS = 64 * 1024

/**
 * Pieces of calls as OpenAI tells them: the whole name with the first, and nothing twice. Some servers cut the name in
 * pieces, begin with the arguments, say the name with each piece, or all arguments again at the end.
 */
export class CallNames {
  readonly #known: ReadonlySet<string> | undefined
  /** By the place that the server tells: calls without one are whole, or go on with the last. */
  readonly #at = new Map<number, Come>()
  /** Characters of arguments that wait for a name. */
  #heldChars = 0

  /** @param known names of the tools that can be called, where they are known */
  constructor(known: ReadonlySet<string> | undefined) {
    this.#known = known
  }

  /** The next piece, or null where nothing of it can be told yet. */
  take(call: Fields): Fields | null {
    if (typeof call.index !== 'number' || !isObject(call.function)) return call
    const id = typeof call.id === 'string' && call.id !== '' ? call.id : null
    const name = textOf(call.function.name)
    const come = this.#at.get(call.index)
    const isNew = come === undefined || (name !== '' && id !== null && come.id !== null && id !== come.id)
    if (isNew) return this.#begin(call.index, { id, name, args: '', held: null }, call)
    come.id ??= id
    return come.held ? this.#more(come, come.held, call) : this.#next(come, call, call.function)
  }

  /** What waits, where nothing more comes. */
  rest(): Fields[] {
    this.#heldChars = 0
    return [...this.#at.values()].flatMap((come) => {
      const { held } = come
      come.held = null
      return held ? [held] : []
    })
  }

  #begin(index: number, come: Come, call: Fields): Fields | null {
    this.#at.set(index, come)
    const args = textOf((call.function as Fields).arguments)
    this.#heldChars += args.length
    return this.#orHeld(come, call, args)
  }

  /** A call of which all that came is this, or null as long as it waits for its name, or the rest of that. */
  #orHeld(come: Come, call: Fields, args: string): Fields | null {
    const isNamed = come.name !== '' && (this.#isWhole(come.name) || args !== '')
    if (!isNamed && this.#heldChars <= MAX_COMPARED_CHARS) {
      come.held = call
      return null
    }
    come.held = null
    this.#heldChars -= args.length
    return this.#noted(come, call)
  }

  #more(come: Come, held: Fields, call: Fields): Fields | null {
    const [before, now] = [held.function, call.function] as [Fields, Fields]
    const name = textOf(now.name)
    // The same again is no further piece of it, but where a tool is called so.
    come.name += name === come.name && !this.#begins(name + name) ? '' : name
    const more = textOf(now.arguments)
    const args = textOf(before.arguments) + more
    this.#heldChars += more.length
    const one = { ...held, ...told(call), function: { ...before, ...now, name: come.name, arguments: args } }
    return this.#orHeld(come, one, args)
  }

  #next(come: Come, call: Fields, called: Fields): Fields {
    const args = textOf(called.arguments)
    const isAgain = args !== '' && args === come.args && isJson(args)
    const { name, ...rest } = called
    const repeats = name !== undefined && name === come.name
    if (come.name === '') come.name = textOf(name)
    if (isAgain) return { ...call, function: { ...(repeats ? rest : called), arguments: '' } }
    const noted = this.#noted(come, call)
    return repeats ? { ...noted, function: rest } : noted
  }

  #noted(come: Come, call: Fields): Fields {
    const args = textOf((call.function as Fields).arguments)
    if (come.args !== null) come.args = come.args.length + args.length > MAX_COMPARED_CHARS ? null : come.args + args
    return call
  }

  /** A name that is none of the tools', and begins one of theirs, is not all of it. */
  #isWhole(name: string): boolean {
    if (name === '' || !this.#known || this.#known.has(name)) return name !== ''
    return !this.#begins(name)
  }

  #begins(name: string): boolean {
    for (const known of this.#known ?? []) if (known.startsWith(name)) return true
    return false
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

const told = (call: Fields): Fields =>
  Object.fromEntries(Object.entries(call).filter(([, value]) => value !== null && value !== undefined && value !== ''))

function isJson(text: string): boolean {
  try {
    return isObject(JSON.parse(text))
  } catch {
    return false
  }
}
