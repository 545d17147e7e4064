import type { Candidate } from '../../candidates/candidate.ts'
import { type Attempt, KNOWN_USAGE } from '../../store/records/records.ts'
import type { Forwarded } from '../relay/answer.ts'

/** Answers of nothing: the first is kept for the case that nobody says more. */
export class SaidNothing {
  readonly #by = new Set<Candidate>()
  #first: { answer: Forwarded; note: Attempt } | null = null
  #isOver = false

  has(candidate: Candidate): boolean {
    return this.#by.has(candidate)
  }

  /** @param note of the try that it came of; gets what it took, as far as the provider has told by now */
  async keep(answer: Forwarded, note: Attempt): Promise<void> {
    note.error = 'empty'
    const usage = answer.stream ? answer.observer.usage : answer.usage
    if (usage) note[KNOWN_USAGE] = usage
    this.#by.add(answer.candidate)
    if (this.#first || this.#isOver) await letGo(answer)
    else this.#first = { answer, note }
  }

  /** The one that was kept, as the answer after all: who takes it sees to its end. */
  take(): { answer: Forwarded; note: Attempt } | null {
    const first = this.#first
    this.#first = null
    return first
  }

  /** Nobody reads any of them. */
  async end(): Promise<void> {
    this.#isOver = true
    const first = this.take()
    if (first) await letGo(first.answer)
  }
}

async function letGo(answer: Forwarded): Promise<void> {
  if (!answer.stream) return
  answer.release()
  // It may have broken meanwhile.
  await answer.rest.return?.().catch(() => {})
}
