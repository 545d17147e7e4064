import { answerText } from '../../openai/answer-text.ts'
import type { Services } from '../../parts.ts'
import type { CapturedResponse } from '../../pipeline/capture-response.ts'
import { summaryOf } from '../../store/records/documents.ts'
import type { InteractionRecord } from '../../store/records/records.ts'

/** Perhaps has an answer judged that the client has got. */
export function considerJudging(
  services: Services,
  record: InteractionRecord,
  question: string,
  { body }: CapturedResponse,
): void {
  if (services.snapshot().tenants.get(record.tenant)?.config.judged === false) return
  if (body && record.status < 400)
    services.judge?.consider(summaryOf(record), question, answerText(body, record.stream))
}
