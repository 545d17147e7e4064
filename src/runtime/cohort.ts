import { atEndOfTick } from './end-of-tick.ts'
import { inCompany } from './micro-batch.ts'

/**
 * Goes on at the end of this turn of the event loop together with all that wait for it, in the order asked for: from
 * there requests take their steps side by side, each step by one after the other, so that its code and what it reads
 * stay in the processor's caches (cohort scheduling: Larus and Parkes, USENIX 2002). A request by itself runs from one
 * end of the program to the other, and each step finds the caches cold (docs/profile.md). Whoever comes alone goes on
 * at once.
 *
 * @param goOn resolves a promise, mostly; throws nothing
 */
export function inStep(goOn: () => void): void {
  if (inCompany()) atEndOfTick(goOn)
  else goOn()
}

/**
 * Work of several steps that nobody waits for, each step for all before the next: right after what goes on now and the
 * promises that it resolves, before anything that has come since is looked at.
 */
export class Cohort<Member> {
  readonly #steps: readonly ((member: Member) => void)[]
  #members: Member[] = []

  /** @param steps in order; one that throws keeps neither others nor later steps from running */
  constructor(...steps: readonly ((member: Member) => void)[]) {
    this.#steps = steps
  }

  add(member: Member): void {
    if (this.#members.length === 0) process.nextTick(this.#run)
    this.#members.push(member)
  }

  readonly #run = () => {
    const members = this.#members
    this.#members = []
    const failures: unknown[] = []
    for (const step of this.#steps) {
      for (const member of members) {
        try {
          step(member)
        } catch (error) {
          failures.push(error)
        }
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
