import type { Move } from '../store.ts'
import { erasedBefore } from './erasures.ts'
import type { SqliteFile } from './file.ts'

const MOVES_A_PAGE = 1_000

/** Users who have got another id. Rows of the log have the present one here; those of archives don't. */
export class SqliteMoves {
  readonly #file: SqliteFile

  constructor(file: SqliteFile) {
    this.#file = file
  }

  /** Within a `write`. */
  note(tenant: string, from: string, to: string): void {
    const { passMoves, noteMove, dropMove } = this.#file.sql
    passMoves.run(to, tenant, from)
    // Who gets a former id back has it from now on.
    dropMove.run(tenant, to)
    noteMove.run(tenant, from, to, Date.now())
  }

  /** As `note`, of a backup. */
  restore(tenant: string, from: string, to: string): Promise<'restored' | 'kept' | 'erased'> {
    const { presentId } = this.#file.sql
    return this.#file.write<'restored' | 'kept' | 'erased'>(() => {
      const present = String(presentId.get(tenant, to)?.user ?? to)
      if (presentId.get(tenant, from) || present === from) return ['kept']
      const isErased = erasedBefore(this.#file)
      if ([from, to, present].some((user) => isErased({ tenant, user, ts: 0 }))) return ['erased']
      this.note(tenant, from, present)
      return ['restored']
    })
  }

  former(tenant: string, user: string): Promise<string[]> {
    return this.#file.read(() => this.#file.sql.formerIds.all(tenant, user).map(({ former }) => String(former)))
  }

  present(tenant: string, users: readonly string[]): Promise<Map<string, string>> {
    return this.#file.read(() => {
      const found = users.map((user) => [user, this.#file.sql.presentId.get(tenant, user)] as const)
      return new Map(found.flatMap(([user, row]) => (row ? [[user, String(row.user)] as const] : [])))
    })
  }

  /** Of a user who is erased, under whichever id. */
  forget(tenant: string, user: string): Promise<void> {
    return this.#file.writeUrgently(() => {
      this.#file.sql.dropMove.run(tenant, user)
      this.#file.sql.forgetMoves.run(tenant, user)
      return [undefined]
    })
  }

  async *list(only?: string): AsyncGenerator<Move[]> {
    for (let after = [only ?? '', '']; ; ) {
      const [tenant = '', former = ''] = after
      const page = await this.#file.read(() => this.#file.sql.listMoves.all(tenant, former, MOVES_A_PAGE))
      const rows = only === undefined ? page : page.filter((row) => row.tenant === only)
      const last = rows.at(-1)
      if (!last) return
      after = [String(last.tenant), String(last.former)]
      yield rows.map((row) => ({ tenant: String(row.tenant), from: String(row.former), to: String(row.user) }))
    }
  }
}
