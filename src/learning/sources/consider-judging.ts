import { answerText } from '../../openai/answer-text.ts'
import type { Parts } from '../../parts.ts'
import type { CapturedResponse } from '../../pipeline/capture-response.ts'
import { summaryOf } from '../../store/records/documents.ts'
import type { InteractionRecord } from '../../store/records/records.ts'

/** Perhaps has an answer judged that the client has got. */
export function considerJudging(
  parts: Parts,
  record: InteractionRecord,
  question: string,
  { body }: CapturedResponse,
): void {
  if (parts.live().tenants.get(record.tenant)?.config.judged === false) return
  if (body && record.status < 400) parts.judge?.consider(summaryOf(record), question, answerText(body, record.stream))
}
