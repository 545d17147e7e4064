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
  endpoint: { answerText(body: Buffer, stream: boolean): string },
): void {
  if (services.snapshot().tenants.get(record.tenant)?.config.judged === false) return
  if (body && record.status < 400)
    services.judge?.consider(summaryOf(record), question, endpoint.answerText(body, record.stream))
}
