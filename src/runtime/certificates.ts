import { X509Certificate } from 'node:crypto'

/** When a certificate of ours begins and ends. Times are Unix milliseconds. */
export interface OwnCertificate {
  /** Of the configuration: `server.tls`. */
  path: string
  from: number
  until: number
}

/** Of a text. One that is cut off takes nothing of the next. */
export const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Of a chain: while all of it holds. @throws Error where one can't be read */
export function timesOf(pem: Buffer): { from: number; until: number } {
  const chain = (pem.toString('latin1').match(PEM) ?? []).map((one) => new X509Certificate(one))
  return {
    from: Math.max(...chain.map(({ validFrom }) => Date.parse(validFrom))),
    until: Math.min(...chain.map(({ validTo }) => Date.parse(validTo))),
  }
}

/** Renewal is overdue with so much of its time left: what renews certificates does so at a third. */
const OVERDUE = 0.1
/** One of years is renewed by hand: nobody does so a year before. */
const OVERDUE_MS = 30 * 86_400_000

/** What is wrong with the time of a certificate, or soon will be; null where it is in time. */
export function timeProblem({ path, from, until }: OwnCertificate, now = Date.now()): string | null {
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 16).replace('T', ' ')
  if (now > until) return `${path}: its certificate ended on ${day(until)} UTC`
  if (now < from) return `${path}: its certificate begins on ${day(from)} UTC`
  const overdue = Math.min(OVERDUE * (until - from), OVERDUE_MS)
  return until - now < overdue ? `${path}: its certificate ends on ${day(until)} UTC: renew it` : null
}
