import type { OpenAIError } from '../../openai/error.ts'
import type { PlainAnswer, StreamAnswer } from './answer.ts'

/** Tells one request's answer in the format of the endpoint that it came by, where that is not chat completions'. */
export interface AnswerWriter {
  /**
   * The body of a whole answer, a provider's refusal included. Awaited before any of it goes out.
   *
   * @param tenant whose turn it takes, where it is large
   */
  plain(answer: PlainAnswer, tenant: string): Buffer | Promise<Buffer>
  stream(answer: StreamAnswer): StreamWriter
}

/** One stream's bytes, from the provider's format to the endpoint's. */
export interface StreamWriter {
  /** What to send for these bytes; null for nothing. */
  push(bytes: Buffer): Buffer | null
  /** The answer is whole. Awaited before its last bytes go out; returns them, or null. */
  end(): Promise<Buffer | null> | Buffer | null
  /** The answer broke: the last bytes. */
  fail(error: OpenAIError): Buffer | null
}
