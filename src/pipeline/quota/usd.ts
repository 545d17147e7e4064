/** Billionths of a dollar in one. */
export const NANO = 1e9

/** Dollars, to a ten-thousandth of a cent. */
export const usd = (nanoUsd: number) => (nanoUsd / NANO).toFixed(6)
