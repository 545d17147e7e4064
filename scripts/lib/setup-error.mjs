/** Something that setup can't put in place by itself: what is missing, and how a person gets it. */
export class SetupError extends Error {
  /**
   * @param {string} what
   * @param {string[]} how one hint a line
   * @param {string} [output] the last lines of the command that failed
   */
  constructor(what, how, output = '') {
    super(what)
    this.name = 'SetupError'
    this.how = how
    this.output = output
  }

  render() {
    const detail = this.output === '' ? '' : `\n\nIts last lines:\n${this.output.replace(/^/gm, '  | ')}`
    return `\n✗ ${this.message}\n${this.how.map((line) => `  ${line}`).join('\n')}${detail}\n`
  }
}
