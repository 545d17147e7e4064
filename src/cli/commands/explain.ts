import { type Command, Option } from 'commander'
import { causeOf } from '../../runtime/error-cause.ts'
import { fail } from '../fail.ts'
import { parseUrl } from '../parse.ts'

const MAX_SHOWN_CHARS = 300

/** `explain`: asks a running gateway. */
export function addExplain(program: Command): void {
  program
    .command('explain <question>')
    .description('ask a running gateway which candidate it would choose, and why')
    .option('--url <url>', 'the gateway', parseUrl, new URL('http://127.0.0.1:8787'))
    .option('--user <id>', 'for this user')
    .option('--model <model>', 'auto, auto:<group> or a candidate', 'auto')
    .addOption(new Option('--key <key>', 'a tenant key').env('PERSONA_ROUTER_KEY').makeOptionMandatory())
    .action(async (question: string, options: { url: URL; user?: string; model: string; key: string }) => {
      const { explainTable } = await import('../explain-table.ts')
      const answer = await post(new URL('/v1/router/explain', options.url), options)
      const table = explainTable(answer)
      if (table === null) fail(`What answers at ${options.url.origin} is no persona-router, or another version of it.`)
      process.stdout.write(table)

      async function post(url: URL, { user, model, key }: typeof options): Promise<unknown> {
        const response = await fetch(url, {
          method: 'POST',
          headers: headersOf(key, user),
          body: JSON.stringify({ model, messages: [{ role: 'user', content: question }] }),
        }).catch((error) =>
          fail(`No gateway answers at ${url.origin}: ${causeOf(error)}. Is it running? Give its address with --url.`),
        )
        const text = await response.text().catch((error) => fail(`${url.origin}: ${causeOf(error)}`))
        if (!response.ok) fail(`${url.origin} answers ${response.status}: ${messageOf(text)}`)
        return parsed(text)
      }
    })
}

/** What a header can't hold is told before it is sent. */
function headersOf(key: string, user: string | undefined): Headers {
  try {
    return new Headers({
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      ...(user && { 'x-user-id': user }),
    })
  } catch {
    return fail('A key or user id may hold visible ASCII characters only.')
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Of an error in the API's shape; of anything else its beginning. */
function messageOf(text: string): string {
  const { error } = (parsed(text) ?? {}) as { error?: { message?: unknown } }
  const shown = typeof error?.message === 'string' ? error.message : text
  return shown.replace(/\s+/g, ' ').trim().slice(0, MAX_SHOWN_CHARS) || 'without a word'
}
