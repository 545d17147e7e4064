/**
 * Prints a figure where asked to: `MEASURE=1 npx vitest run test/faults`. What test/faults/README.md tells comes from
 * there.
 */
export function measured(what: string, figure: string | number | null): void {
  if (process.env.MEASURE) process.stderr.write(`measured: ${what}: ${figure ?? 'not on this system'}\n`)
}

export const mebibytes = (bytes: number | null) => (bytes === null ? null : `${(bytes / 1024 / 1024).toFixed(1)} MiB`)
