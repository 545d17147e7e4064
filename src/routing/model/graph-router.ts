import type { Candidate } from '../../candidates/candidate.ts'
import type { Logger } from '../../observability/logger.ts'
import { inTime } from '../../runtime/in-time.ts'
import { microBatch } from '../../runtime/micro-batch.ts'
import { Tensor } from '../../runtime/onnxruntime.ts'
import type { Evidence } from '../../store/store.ts'
import { type Start, weightsOf } from '../artifact/manifest.ts'
import type { Artifact } from '../artifact/types.ts'
import { type CautionRule, safeCaution } from '../choose/safe-caution.ts'
import { type CandidateScore, type RouteQuery, type Router, RouterError } from '../router.ts'
import { BatchScores } from './batch-scores.ts'
import { lean } from './lean.ts'
import { type CandidatesOf, type Embed, LlmStates, type LlmTable } from './llm-states.ts'
import { numbersOf, PackedState, type UserStateVector } from './packed-state.ts'
import { runUser } from './user-graph.ts'

/** Milliseconds without a run after one that exceeded the deadline. */
const PAUSE_MS = 2_000

const USUAL_PROMPT_TOKENS = 200

/** What a user's caution comes from changes little while neither their state nor their candidates do. */
const CAUTION_MS = 60_000

/** A larger batch holds up the event loop for longer than it saves. */
const MAX_BATCH = 32

export interface GraphRouterOptions {
  artifact: Artifact
  /** For the candidates' cards. */
  embed: Embed
  loadEvidence: (tenant: string) => Promise<Evidence>
  candidatesOf: CandidatesOf
  deadlineMs: number
  log: Logger
}

interface Waiting {
  query: RouteQuery
  resolve: (scores: CandidateScore[]) => void
  reject: (error: RouterError) => void
}

/** Candidates of a tenant, and whom doubts about them are counted from: its baseline, or everybody's favourite. */
interface Anchored {
  table: LlmTable
  baseline: string | undefined
  anchor: Anchor | Promise<Anchor> | null
}

interface Anchor {
  index: number
  z: Tensor
}

/** How cautious a user's state makes us. */
interface Cautious extends CautionRule {
  candidates: readonly Candidate[]
  baseline: string | undefined
  taste: Start | undefined
  until: number
  /** A promise until it is known, which all wait for who ask meanwhile. */
  found: number | Promise<number>
}

/** Whose caution it is, and until when it is of use. */
export type CautionQuery = Pick<RouteQuery, 'tenant' | 'speaker' | 'state' | 'taste' | 'baseline' | 'deadline'>

/** Buffers of one run; a run that waits for its turn must not share them with the next. */
interface Inputs {
  query: Float32Array
  promptTokens: Float32Array
  state: Float32Array
  costWeight: Float32Array
}

/**
 * Scores by the artifact's graphs. Requests that come together (`microBatch`) are scored as one batch: ONNX Runtime's
 * fixed cost of a run (about 100 us) is shared, and as a run blocks the JavaScript thread there is nothing to gain by
 * starting earlier.
 *
 * A run can't be interrupted. One that took longer than the deadline fails its requests, and those of the next seconds
 * at once, without a run. An event loop that was held up before the run fails none: the score is as good as ever, and
 * takes less time than was lost.
 */
export class GraphRouter implements Router {
  readonly version: string
  readonly device: string
  readonly llms: LlmStates
  readonly artifact: Artifact
  readonly #deadlineMs: number
  readonly #log: Logger
  /** State of a new user of a tenant of which nothing is known, [S]: what others are kept by. */
  readonly cold: Float32Array
  readonly #idle: Inputs[] = []
  readonly #anchored = new WeakMap<LlmTable, Map<string | undefined, Anchored>>()
  /** By the user's state; of those who have none yet, by their tenant's table. */
  readonly #cautions = new WeakMap<UserStateVector | LlmTable, Cautious>()
  readonly #usual: Float32Array | null
  readonly #tools: Float32Array | null
  readonly #starts: ReadonlyMap<Start, readonly [number, number][]>
  #waiting = new Map<Anchored, Waiting[]>()
  #pausedUntil = 0

  private constructor(
    { artifact, embed, loadEvidence, candidatesOf, deadlineMs, log }: GraphRouterOptions,
    cold: Float32Array,
  ) {
    this.artifact = artifact
    this.version = artifact.version
    this.device = artifact.device
    this.llms = new LlmStates(artifact, embed, loadEvidence, candidatesOf, log)
    this.#deadlineMs = deadlineMs
    this.#log = log
    this.cold = cold
    const { usual, starts, tools } = artifact.manifest
    this.#starts = new Map(
      Object.entries(starts ?? {}).map(([taste, of]) => [
        taste as Start,
        Object.entries(of).map(([weight, said]) => [Number(weight), said]),
      ]),
    )
    // Without usual questions, one that says nothing; undefined: from before there was a favourite.
    this.#tools = tools ? floats(tools) : null
    this.#usual = usual ? floats(usual) : usual === null ? new Float32Array(artifact.dims.E) : null
  }

  /** @throws RouterError where not even the state of a new user can be computed */
  static async open(options: GraphRouterOptions): Promise<GraphRouter> {
    const { artifact } = options
    const { sessions, dims } = artifact
    const { state: cold } = await runUser(sessions.user, dims, new Float32Array(dims.H))
    if (!cold.every(Number.isFinite)) throw new RouterError('not_finite', 'The state of a new user is not finite.')
    return new GraphRouter(options, cold)
  }

  score(query: RouteQuery, candidates: readonly Candidate[]): Promise<CandidateScore[]> {
    if (candidates.length === 0) return Promise.resolve([])
    return new Promise((resolve, reject) => {
      this.#check(query)
      const now = performance.now()
      const deadline = query.deadline ?? now + this.#deadlineMs
      if (now > deadline || now < this.#pausedUntil) throw tooLate()
      const waiting = { query, resolve, reject }
      const table = this.llms.table(query.tenant, candidates, query.speaker)
      const wait = (found: LlmTable) => this.#wait(this.#anchoredBy(found, query.baseline), waiting)
      if (table instanceof Promise) soonEnough(table, deadline).then(wait, reject)
      else wait(table)
    })
  }

  /** @throws RouterError also where it is not known in time; the next request has it then */
  async cautionOf(user: CautionQuery, candidates: readonly Candidate[], rule: CautionRule): Promise<number> {
    const usual = this.#usual
    if (!usual || candidates.length === 0) return rule.caution
    const deadline = user.deadline ?? performance.now() + this.#deadlineMs
    const table = this.llms.table(user.tenant, candidates, user.speaker)
    const known = table instanceof Promise ? await soonEnough(table, deadline) : table
    const found = this.#cautionBy(this.#anchoredBy(known, user.baseline), user, rule, usual)
    return found instanceof Promise ? soonEnough(found, deadline) : found
  }

  /** Whom doubts are counted from; null where this artifact knows of no doubts. */
  async favouriteOf(
    { tenant, speaker, baseline }: Pick<RouteQuery, 'tenant' | 'speaker' | 'baseline'>,
    candidates: readonly Candidate[],
  ): Promise<Candidate | null> {
    if (!this.#usual || candidates.length === 0) return null
    const { index } = await this.#anchorOf(
      this.#anchoredBy(await this.llms.table(tenant, candidates, speaker), baseline),
      this.#usual,
    )
    return candidates[index] ?? null
  }

  #cautionBy(
    compared: Anchored,
    { state, taste }: CautionQuery,
    rule: CautionRule,
    usual: Float32Array,
  ): number | Promise<number> {
    const { table, baseline } = compared
    const { candidates } = table
    const key = state ?? table
    const known = this.#cautions.get(key)
    const isSame =
      known?.candidates === candidates &&
      known.baseline === baseline &&
      known.taste === taste &&
      known.risk === rule.risk &&
      known.caution === rule.caution
    if (isSame && performance.now() < known.until) return known.found
    const finding = this.#findCaution(compared, this.#startedAs(numbersOf(state ?? table.cold), taste), rule, usual)
    const until = Number.POSITIVE_INFINITY
    const cautious: Cautious = { ...rule, candidates, baseline, taste, found: finding, until }
    this.#cautions.set(key, cautious)
    finding.then(
      (found) => Object.assign(cautious, { found, until: performance.now() + CAUTION_MS }),
      () => {
        if (this.#cautions.get(key) === cautious) this.#cautions.delete(key)
      },
    )
    return finding
  }

  async #findCaution(compared: Anchored, state: Float32Array, rule: CautionRule, usual: Float32Array): Promise<number> {
    const { table } = compared
    const { index, z } = await this.#anchorOf(compared, usual)
    const { mean, apart } = await this.#scoreUsual(table, usual, state, z)
    return safeCaution({ mean, apart, candidates: table.candidates.length, favourite: index }, rule)
  }

  /** A state as its user's tenant states that its users start. */
  #startedAs(state: Float32Array, taste: Start | undefined): Float32Array {
    const start = taste && this.#starts.get(taste)
    if (!start) return state
    const leaning = state.slice()
    lean(leaning, 0, weightsOf(state.length), start)
    return leaning
  }

  /**
   * What the graph reads in queries, [Q] each; null where this artifact's graphs don't tell. Vectors that were kept are
   * of questions alone: that a request brought tools is in the reading made when it came, and lost in one made anew
   * for another reader.
   */
  async read(queries: readonly Float32Array[]): Promise<Float32Array[] | null> {
    const { E, Q, S, Z } = this.artifact.dims
    if (!this.artifact.manifest.reader) return null
    const readings: Float32Array[] = []
    for (let start = 0; start < queries.length; start += MAX_BATCH) {
      const some = queries.slice(start, start + MAX_BATCH)
      const n = some.length
      const query = new Float32Array(n * E)
      const state = new Float32Array(n * S)
      for (const [row, one] of some.entries()) {
        query.set(one, row * E)
        state.set(this.cold, row * S)
      }
      const nothing = new Tensor('float32', new Float32Array(Z), [1, Z])
      const { reading } = await this.artifact.sessions.score.run({
        query: new Tensor('float32', query, [n, E]),
        prompt_tokens: new Tensor('float32', new Float32Array(n), [n]),
        state: new Tensor('float32', state, [n, S]),
        z: nothing,
        cost_weight: new Tensor('float32', new Float32Array(n).fill(-1), [n]),
        anchor: nothing,
      })
      const all = reading?.data as Float32Array
      for (let row = 0; row < n; row++) readings.push(all.slice(row * Q, (row + 1) * Q))
    }
    return readings
  }

  /**
   * How long answers were to be expected by their candidates' cards alone, in tokens, in order; NaN where it can't be
   * told.
   */
  async tokensByCard(
    tenant: string,
    answers: readonly { embedding: Float32Array; tools: number; promptTokens: number; candidate: Candidate }[],
  ): Promise<Float32Array> {
    const { E, S, Z } = this.artifact.dims
    const candidates = [...new Set(answers.map(({ candidate }) => candidate))]
    const z = new Float32Array(candidates.length * Z)
    for (const [i, row] of (await this.llms.byCard(tenant, candidates)).entries()) z.set(row, i * Z)
    const expected = new Float32Array(answers.length)
    for (let start = 0; start < answers.length; start += MAX_BATCH) {
      const some = answers.slice(start, start + MAX_BATCH)
      const n = some.length
      const [query, state] = [new Float32Array(n * E), new Float32Array(n * S)]
      for (const [row, { embedding, tools }] of some.entries()) {
        if (embedding.length === E) this.#ask(query, row, embedding, tools)
        state.set(this.cold, row * S)
      }
      const { completion_tokens } = await this.artifact.sessions.score.run({
        query: new Tensor('float32', query, [n, E]),
        prompt_tokens: new Tensor(
          'float32',
          Float32Array.from(some, (one) => one.promptTokens),
          [n],
        ),
        state: new Tensor('float32', state, [n, S]),
        z: new Tensor('float32', z, [candidates.length, Z]),
        cost_weight: new Tensor('float32', new Float32Array(n).fill(-1), [n]),
        ...(this.#usual && { anchor: new Tensor('float32', z.slice(0, Z), [1, Z]) }),
      })
      const tokens = completion_tokens?.data as Float32Array
      for (const [row, { candidate }] of some.entries()) {
        expected[start + row] = tokens[row * candidates.length + candidates.indexOf(candidate)] ?? Number.NaN
      }
    }
    return expected
  }

  #check({ embedding, state }: RouteQuery): void {
    const { E, S } = this.artifact.dims
    if (embedding.length !== E) {
      throw new RouterError('session', `The query has ${embedding.length} numbers, not ${E}.`)
    }
    if (state !== null && state.length !== S) {
      throw new RouterError('session', `The user's state has ${state.length} numbers, not ${S}.`)
    }
  }

  #wait(compared: Anchored, waiting: Waiting): void {
    const group = this.#waiting.get(compared)
    if (group) group.push(waiting)
    else this.#waiting.set(compared, [waiting])
    microBatch(this.#flush)
  }

  readonly #flush = () => {
    const groups = this.#waiting
    this.#waiting = new Map()
    for (const [compared, waiting] of groups) {
      for (let i = 0; i < waiting.length; i += MAX_BATCH) void this.#run(compared, waiting.slice(i, i + MAX_BATCH))
    }
  }

  async #run(compared: Anchored, batch: readonly Waiting[]): Promise<void> {
    const { table } = compared
    const inputs = this.#idle.pop() ?? this.#allocate()
    try {
      const found = this.#usual && this.#anchorOf(compared, this.#usual)
      const anchor = (found instanceof Promise ? await found : found)?.z
      let startedAt = performance.now()
      // ONNX Runtime begins with the next immediate: this one comes right before it, whatever else holds up this turn.
      setImmediate(() => {
        startedAt = performance.now()
      })
      const outputs = await this.artifact.sessions.score.run({
        ...this.#feeds(table, batch, inputs),
        ...(anchor && { anchor }),
      })
      const now = performance.now()
      if (now - startedAt > this.#deadlineMs) {
        this.#pausedUntil = now + PAUSE_MS
        this.#log.warn({ policy: this.version, ms: Math.round(now - startedAt) }, 'scoring is too slow: paused')
        for (const { reject } of batch) reject(tooLate())
        return
      }
      const scores = new BatchScores(outputs, table.candidates, this.artifact.manifest.parts)
      for (const [row, { query, resolve, reject }] of batch.entries()) {
        try {
          resolve(scores.row(row, query))
        } catch (error) {
          reject(error as RouterError)
        }
      }
    } catch (error) {
      for (const { reject } of batch) reject(new RouterError('session', 'The scoring graph failed.', error))
    } finally {
      this.#idle.push(inputs)
    }
  }

  /** The same object for the same two, as long as the table lives: requests that share it are scored together. */
  #anchoredBy(table: LlmTable, baseline: string | undefined): Anchored {
    const known = this.#anchored.get(table) ?? new Map<string | undefined, Anchored>()
    this.#anchored.set(table, known)
    let anchored = known.get(baseline)
    if (!anchored) {
      const isThere = baseline === undefined || table.candidates.some(({ name }) => name === baseline)
      anchored = isThere ? { table, baseline, anchor: null } : this.#anchoredBy(table, undefined)
      known.set(baseline, anchored)
    }
    return anchored
  }

  #anchorOf(compared: Anchored, usual: Float32Array): Promise<Anchor> | Anchor {
    if (compared.anchor) return compared.anchor
    const { table, baseline } = compared
    const index = table.candidates.findIndex(({ name }) => name === baseline)
    if (index >= 0) {
      compared.anchor = this.#anchorAt(table, index)
      return compared.anchor
    }
    const finding = this.#favouriteIn(table, usual).then((favourite) => {
      const made = this.#anchorAt(table, favourite)
      compared.anchor = made
      return made
    })
    finding.catch(() => {
      compared.anchor = null
    })
    compared.anchor = finding
    return finding
  }

  #anchorAt({ z }: LlmTable, index: number): Anchor {
    const { Z } = this.artifact.dims
    return { index, z: new Tensor('float32', (z.data as Float32Array).slice(index * Z, (index + 1) * Z), [1, Z]) }
  }

  /** Whom the average new user would have liked most, over usual questions. */
  async #favouriteIn(table: LlmTable, usual: Float32Array): Promise<number> {
    const { mean } = await this.#scoreUsual(table, usual, table.cold, this.#anchorAt(table, 0).z)
    const m = table.candidates.length
    const sums = new Float64Array(m)
    for (const [i, value] of mean.entries()) sums[i % m] = (sums[i % m] as number) + value
    return Math.max(sums.indexOf(Math.max(...sums)), 0)
  }

  /** Usual questions as the user in a state would ask them: means and deviations from an anchor, row by row. */
  async #scoreUsual(
    { z, candidates }: LlmTable,
    usual: Float32Array,
    of: Float32Array,
    anchor: Tensor,
  ): Promise<{ mean: Float32Array; apart: Float32Array }> {
    const { E, S } = this.artifact.dims
    const n = usual.length / E
    const state = new Float32Array(n * S)
    for (let row = 0; row < n; row++) state.set(of, row * S)
    const { mean, apart } = await this.artifact.sessions.score.run({
      query: new Tensor('float32', usual, [n, E]),
      prompt_tokens: new Tensor('float32', new Float32Array(n).fill(USUAL_PROMPT_TOKENS), [n]),
      state: new Tensor('float32', state, [n, S]),
      z,
      cost_weight: new Tensor('float32', new Float32Array(n).fill(-1), [n]),
      anchor,
    })
    if (!mean) throw new RouterError('session', 'The scoring graph gave no means.')
    const none = new Float32Array(n * candidates.length)
    return { mean: mean.data as Float32Array, apart: (apart?.data as Float32Array | undefined) ?? none }
  }

  #feeds({ z, cold }: LlmTable, batch: readonly Waiting[], inputs: Inputs): Record<string, Tensor> {
    const { E, S } = this.artifact.dims
    const n = batch.length
    for (const [row, { query }] of batch.entries()) {
      this.#ask(inputs.query, row, query.embedding, query.tools)
      writeState(query.state ?? cold, inputs.state, row * S)
      const start = query.taste && this.#starts.get(query.taste)
      if (start) lean(inputs.state, row * S, weightsOf(S), start)
      inputs.promptTokens[row] = query.promptTokens
      inputs.costWeight[row] = query.costWeight ?? -1
    }
    return {
      query: new Tensor('float32', inputs.query.subarray(0, n * E), [n, E]),
      prompt_tokens: new Tensor('float32', inputs.promptTokens.subarray(0, n), [n]),
      state: new Tensor('float32', inputs.state.subarray(0, n * S), [n, S]),
      z,
      cost_weight: new Tensor('float32', inputs.costWeight.subarray(0, n), [n]),
    }
  }

  /** Writes a row of the graph's queries: an embedding, and what the request's tools add to it. */
  #ask(queries: Float32Array, row: number, embedding: Float32Array, tools: number | undefined): void {
    const at = row * this.artifact.dims.E
    queries.set(embedding, at)
    if (tools && this.#tools) addTo(queries, at, this.#tools, tools)
  }

  #allocate(): Inputs {
    const { E, S } = this.artifact.dims
    return {
      query: new Float32Array(MAX_BATCH * E),
      promptTokens: new Float32Array(MAX_BATCH),
      state: new Float32Array(MAX_BATCH * S),
      costWeight: new Float32Array(MAX_BATCH),
    }
  }
}

function writeState(state: UserStateVector, target: Float32Array, at: number): void {
  if (state instanceof PackedState) state.writeTo(target, at)
  else target.set(state, at)
}

function addTo(target: Float32Array, at: number, vector: Float32Array, times: number): void {
  for (let i = 0; i < vector.length; i++) target[at + i]! += times * vector[i]!
}

/** From base64, little-endian. */
function floats(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64')
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
}

const tooLate = () => new RouterError('timeout', 'Scoring took longer than its deadline.')

/** Waits for what others share: a tenant's evidence, whose first read takes as long as the store, and runs on it. */
async function soonEnough<T>(work: Promise<T>, deadline: number): Promise<T> {
  try {
    return await inTime(work, deadline - performance.now(), () => {
      throw tooLate()
    })
  } catch (error) {
    throw error instanceof RouterError
      ? error
      : new RouterError('session', 'What scores need can’t be computed.', error)
  }
}
