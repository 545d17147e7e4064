import { Tensor } from '../../runtime/onnxruntime.ts'
import type { ArtifactFiles, Graph } from '../artifact/types.ts'
import { type LearningGraph, send } from './jobs.ts'
import { modelThread } from './thread.ts'

/** A graph of an artifact that the model thread has loaded. */
export const remoteGraph = (key: number, files: ArtifactFiles, graph: LearningGraph): Graph => ({
  async run(feeds) {
    const outputs = await modelThread.run(key, files, graph, send(feeds))
    return Object.fromEntries(
      Object.entries(outputs).map(([name, { data, dims }]) => [
        name,
        new Tensor('float32', data as Float32Array, dims),
      ]),
    )
  },
})
