/**
 * What can be done to a body on any thread: `module` exports it as `name`. What it takes and tells is copied from one
 * thread to another: numbers, texts, plain objects, sets; of a buffer the bytes alone.
 */
export interface Conversion<Args, Told> {
  /** `import.meta.url` of the file. */
  module: string
  name: string
  run(body: Buffer, args: Args): { body: Buffer; told: Told }
}
