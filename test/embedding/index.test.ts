import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openEmbedder } from '../../src/embedding/index.ts'
import { ARTIFACT } from './golden.ts'

interface Manifest {
  embedder: { version: string; dim: number }
}

const artifact = (version: string, dim: number) => ({ directory: ARTIFACT, manifest: { embedder: { version, dim } } })
const remote = { kind: 'openai', base_url: 'http://127.0.0.1:9/v1', model: 'm', dim: 8, timeout_ms: 100 } as const

describe('openEmbedder', () => {
  it('opens the static embedder that the committed artifact carries', async () => {
    const { embedder } = JSON.parse(readFileSync(join(ARTIFACT, 'manifest.json'), 'utf8')) as Manifest
    const opened = await openEmbedder('static', { directory: ARTIFACT, manifest: { embedder } })
    expect(opened.version).toBe(embedder.version)
    expect(await opened.embed('What is a comet?')).toHaveLength(embedder.dim)
  })

  it('refuses an embedder that the artifact was not trained with', async () => {
    await expect(openEmbedder(remote, artifact('static-9', 256))).rejects.toMatchObject({
      name: 'EmbedderError',
      reason: 'load',
      message: expect.stringContaining('static-9 (256)'),
    })
  })

  it('opens one remote embedder for all artifacts', async () => {
    const config = { ...remote }
    const first = await openEmbedder(config, artifact('openai/m/8', 8))
    expect(await openEmbedder(config, artifact('openai/m/8', 8))).toBe(first)
    await first.close?.()
  })

  it('says where the transformer is missing', async () => {
    const config = { kind: 'minilm', path: '/nowhere' } as const
    await expect(openEmbedder(config, artifact('minilm-1', 400))).rejects.toThrow('/nowhere')
  })
})
