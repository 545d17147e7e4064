// Exit code 0 when the gateway in this container answers.
const url = `http://127.0.0.1:${process.env.PORT ?? 8787}/healthz`
const { ok } = await fetch(url, { signal: AbortSignal.timeout(2_500) }).catch(() => ({ ok: false }))
process.exit(ok ? 0 : 1)
