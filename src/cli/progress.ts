const EVERY_MS = { terminal: 200, plain: 5_000 }

/** How far something has come, on stderr: one line that changes on a terminal, else one every few seconds. */
export class Progress {
  readonly #what: string
  #shownAt = performance.now()
  #isOnLine = false

  /** @param what is being done, such as `backup` */
  constructor(what: string) {
    this.#what = what
  }

  readonly show = ({ rows, type }: { rows: number; type: string }): void => {
    const isTerminal = process.stderr.isTTY
    const now = performance.now()
    if (now - this.#shownAt < EVERY_MS[isTerminal ? 'terminal' : 'plain']) return
    this.#shownAt = now
    const line = `${this.#what}: ${rows} rows, now ${type}`
    process.stderr.write(isTerminal ? `\r\x1b[K${line}` : `${line}\n`)
    this.#isOnLine = isTerminal
  }

  end(): void {
    if (this.#isOnLine) process.stderr.write('\r\x1b[K')
  }
}
