/** Holds up this process's event loop. */
export function block(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}
