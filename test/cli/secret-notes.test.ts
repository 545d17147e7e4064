import { expect, it } from 'vitest'
import { secretNotes } from '../../src/cli/secret-notes.ts'

it.each([
  ['os.environ/OPENAI_API_KEY', 'is taken as it stands'],
  ['env::OPENAI_API_KEY', 'is taken as it stands'],
  ['$OPENAI_API_KEY', 'is taken as it stands'],
  ['{{OPENAI_API_KEY}}', 'is taken as it stands'],
  ['%OPENAI_API_KEY%', 'is taken as it stands'],
  ['your-admin-key-here-please', 'looks like a placeholder'],
  ['<the key of your account>', 'looks like a placeholder'],
  ['sk-proj-abc def', 'has a space or a line break'],
  ['sk-proj-abc\n', 'has a space or a line break'],
])('%j as a key is told, and not repeated', (secret, told) => {
  const notes = secretNotes({
    providers: { a: { api_key: secret } },
    tenants: [{ keys: ['sk-good-0123456789', secret] }],
  })
  expect(notes.map((note) => note.split(': ')[0])).toEqual(['providers.a.api_key', 'tenants.0.keys'])
  for (const note of notes) {
    expect(note).toContain(told)
    expect(note).not.toContain(secret)
  }
})

it('says nothing of what may be a secret', () => {
  const secret = ['sk-proj-0123-yourself', 'pr-8Jk_here-2', '$ecret-of-mine', 'env', 'a+b/c==', 'AIza%20x']
  expect(
    secretNotes({ admin: { key: secret[0] }, tenants: [{ keys: secret }], store: { password: 'two words' } }),
  ).toEqual([])
})
