import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import protobuf from 'protobufjs'
import { eventually } from './eventually.ts'

/**
 * The parts of OTLP that tests read; numbers of fields by the specification.
 *
 * Source: https://github.com/open-telemetry/opentelemetry-proto (trace, metrics, logs, common)
 */
const OTLP = `
  syntax = "proto3";
  message Value { oneof kind { string string_value = 1; bool bool_value = 2; int64 int_value = 3;
    double double_value = 4; Values array_value = 5; } }
  message Values { repeated Value values = 1; }
  message Attribute { string key = 1; Value value = 2; }
  message Resource { repeated Attribute attributes = 1; }
  message Traces { repeated ResourceSpans resource = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope = 2; }
  message ScopeSpans { repeated Span items = 2; }
  message Span { bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5;
    int32 kind = 6; fixed64 start = 7; fixed64 end = 8; repeated Attribute attributes = 9; Status status = 15; }
  message Status { string message = 2; int32 code = 3; }
  message Metrics { repeated ResourceMetrics resource = 1; }
  message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope = 2; }
  message ScopeMetrics { repeated Metric items = 2; }
  message Metric { string name = 1; string unit = 3; Histogram histogram = 9; }
  message Histogram { repeated Point data_points = 1; }
  message Point { repeated Attribute attributes = 9; fixed64 count = 4; double sum = 5; }
  message Logs { repeated ResourceLogs resource = 1; }
  message ResourceLogs { Resource resource = 1; repeated ScopeLogs scope = 2; }
  message ScopeLogs { repeated LogRecord items = 2; }
  message LogRecord { repeated Attribute attributes = 6; bytes trace_id = 9; bytes span_id = 10; string event_name = 12; }
`

const { root } = protobuf.parse(OTLP, { keepCase: true })

export interface Item {
  name: string
  event_name: string
  kind: number
  trace_id: string
  span_id: string
  parent_span_id: string
  start: number
  end: number
  attributes: Record<string, unknown>
  status?: { code?: number }
  histogram: { data_points: { count: number; sum: number; attributes: Record<string, unknown> }[] }
}

const SIGNALS = { traces: 'Traces', metrics: 'Metrics', logs: 'Logs' } as const
type Signal = keyof typeof SIGNALS

/** A collector that keeps what it was sent: OTLP over HTTP, protobuf. */
export async function startCollector() {
  const requests: { path: string; headers: IncomingHttpHeaders; body: Buffer }[] = []
  const server = createServer(async (incoming, outgoing) => {
    requests.push({ path: incoming.url ?? '', headers: incoming.headers, body: await buffer(incoming) })
    outgoing.end()
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const items = (signal: Signal): Item[] =>
    requests
      .filter(({ path }) => path.endsWith(`/v1/${signal}`))
      .flatMap(({ body }) => {
        const message = root.lookupType(SIGNALS[signal])
        const read = message.toObject(message.decode(body), { longs: Number, bytes: Array, arrays: true })
        return read.resource.flatMap(({ scope }: { scope: { items: unknown[] }[] }) =>
          scope.flatMap((one) => one.items),
        )
      })
      .map(withPlainAttributes)
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    items,
    /** Waits for an item of a name. */
    find: (signal: Signal, name: string): Promise<Item> =>
      eventually(
        () => items(signal).find((item) => (item.name || item.event_name) === name),
        `${signal}: ${name}`,
        30_000,
      ),
    close: () => {
      server.closeAllConnections()
      return new Promise<void>((closed) => server.close(() => closed()))
    },
  }
}

function withPlainAttributes(item: Item): Item {
  const hex = (bytes: unknown) => Buffer.from((bytes as number[] | undefined) ?? []).toString('hex')
  return {
    ...item,
    trace_id: hex(item.trace_id),
    span_id: hex(item.span_id),
    parent_span_id: hex(item.parent_span_id),
    attributes: plain(item.attributes as unknown as Attribute[]),
    ...(item.histogram && {
      histogram: {
        data_points: item.histogram.data_points.map((point) => ({
          ...point,
          attributes: plain(point.attributes as unknown as Attribute[]),
        })),
      },
    }),
  }
}

interface Attribute {
  key: string
  value: Record<string, unknown>
}

const plain = (attributes: Attribute[] = []) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plainValue(value)]))

function plainValue(value: Record<string, unknown>): unknown {
  const [first] = Object.values(value)
  const values = (first as { values?: Record<string, unknown>[] } | undefined)?.values
  return values ? values.map(plainValue) : first
}
