/** Controls of a terminal (C0, C1), ends of lines, and marks that turn what follows around. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/**
 * A text that a client chose, as a terminal may show it: a user's name can hold a tab, the end of a line and escape
 * sequences, and would otherwise write rows of its own.
 */
export const plain = (text: string): string =>
  text.replace(UNPRINTABLE, (character) => `\\u{${(character.codePointAt(0) as number).toString(16)}}`)
