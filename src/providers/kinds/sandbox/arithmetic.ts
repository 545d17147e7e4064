export interface Sum {
  /** As found in the text, spaces evened out. */
  expression: string
  value: number
}

const CANDIDATE = /[-+*/().\d\s^×÷]{3,200}/g

/** The first calculation in a text ("What is 12 * (3 + 4)?"), worked out; null where there is none. */
export function findSum(text: string): Sum | null {
  for (const [match] of text.matchAll(CANDIDATE)) {
    const expression = match
      .replaceAll('×', '*')
      .replaceAll('÷', '/')
      .replace(/\s+/g, ' ')
      .trim()
      .replace(/[.(]+$/, '')
      .trim()
    if (!/\d\s*[-+*/^]\s*[\d(-]/.test(expression)) continue
    const value = evaluate(expression)
    if (value !== null && Number.isFinite(value)) return { expression, value: Number(value.toPrecision(12)) }
  }
  return null
}

/** Recursive descent over + - * / ^ and parentheses; null for anything else. */
function evaluate(expression: string): number | null {
  const tokens = expression.match(/\d+(?:\.\d+)?|[-+*/^()]/g) ?? []
  let at = 0
  const sum = (): number => {
    let value = product()
    while (tokens[at] === '+' || tokens[at] === '-')
      value = tokens[at++] === '+' ? value + product() : value - product()
    return value
  }
  const product = (): number => {
    let value = power()
    while (tokens[at] === '*' || tokens[at] === '/') value = tokens[at++] === '*' ? value * power() : value / power()
    return value
  }
  const power = (): number => {
    const base = unary()
    if (tokens[at] !== '^') return base
    at++
    return base ** power()
  }
  const unary = (): number => {
    const token = tokens[at++]
    if (token === '-') return -unary()
    if (token === '(') {
      const value = sum()
      return tokens[at++] === ')' ? value : Number.NaN
    }
    return token === undefined ? Number.NaN : Number(token)
  }
  const value = sum()
  return at === tokens.length && !Number.isNaN(value) ? value : null
}
