import { cpSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { editManifest, rewrite } from '../routing/support.ts'

/** The artifact that comes with the gateway. */
export const COMMITTED = resolve(import.meta.dirname, '../../router-model/artifacts/current')

/** PersonalizedRouter's graph network, to compare with. */
export const RIVAL = resolve(import.meta.dirname, '../../router-model/rivals/personalized-router')

/** A directory as `retrain` fills it: versions, and the link `current` to one of them. */
export class ArtifactFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'artifacts-'))
  readonly current = join(this.path, 'current')

  of(version: string): string {
    return join(this.path, version)
  }

  /** A copy of the committed one under another name. */
  add(version: string): string {
    cpSync(COMMITTED, this.of(version), { recursive: true, dereference: true })
    editManifest(this.of(version), (manifest) => Object.assign(manifest, { version }))
    return this.of(version)
  }

  /** Another one that scores otherwise: what training knew of single LLMs is taken out of it. */
  addForgetful(version: string): string {
    const directory = this.add(version)
    rewrite(directory, 'population.json', () => '{}')
    return directory
  }

  /** Turns the link in one step. */
  turnTo(version: string): void {
    symlinkSync(version, `${this.current}.next`)
    renameSync(`${this.current}.next`, this.current)
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
