// Loaded into the gateway under test, beside its own code: collects garbage when told to, so that what is left on the
// heap is in use.
process.on('SIGUSR2', () => globalThis.gc?.())
