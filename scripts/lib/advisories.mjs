/**
 * @typedef {object} Advisory
 * @property {number | string} id
 * @property {string} package
 * @property {string} severity
 * @property {string} title
 * @property {string} url
 * @property {string} range of versions that have it
 *
 * @typedef {object} Accepted
 * @property {number | string} id of the advisory
 * @property {string} why it does no harm here, or nothing can be done yet
 * @property {string} until a day, YYYY-MM-DD; from then on it counts again
 */

const SERIOUS = ['high', 'critical']

/**
 * What `npm audit --json` said.
 *
 * @param {string} text
 * @returns {{ advisories: Advisory[] } | { error: string }}
 */
export function advisoriesOf(text) {
  let report
  try {
    report = JSON.parse(text)
  } catch {
    return { error: 'npm gave no answer' }
  }
  // Only an answer of the registry has both.
  if (!report.vulnerabilities || !report.metadata?.vulnerabilities) {
    return { error: report.message ?? report.error?.summary ?? 'no answer' }
  }
  /** @type {Map<unknown, Advisory>} */
  const advisories = new Map()
  for (const { via } of Object.values(report.vulnerabilities)) {
    for (const cause of via) {
      // A name alone: the package has it from another one, which is listed itself.
      if (typeof cause === 'string') continue
      const { source, name, severity, title, url, range } = cause
      advisories.set(source, { id: source, package: name, severity, title, url, range })
    }
  }
  return { advisories: [...advisories.values()] }
}

/**
 * @param {Advisory[]} advisories
 * @param {Accepted[]} accepted
 * @param {Date} now
 * @returns {{ lines: string[], passed: boolean }}
 */
export function judge(advisories, accepted, now) {
  const today = now.toISOString().slice(0, 10)
  let passed = true
  const lines = advisories.map(({ id, package: name, severity, title, url, range }) => {
    const exception = accepted.find((one) => String(one.id) === String(id))
    const isAccepted = exception !== undefined && today < exception.until
    const isBad = SERIOUS.includes(severity) && !isAccepted
    if (isBad) passed = false
    const note = isAccepted ? ` (accepted until ${exception.until}: ${exception.why})` : ''
    return `${isBad ? '✗' : '-'} ${severity}: ${name} ${range}: ${title} ${url} [${id}]${note}`
  })
  return { lines, passed }
}
