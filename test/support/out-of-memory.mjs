// Loaded first (`--import`): on SIGWINCH this process takes memory until V8 ends it, a while later, as a leak does.
process.on('SIGWINCH', () => {
  const hoard = []
  const more = () => {
    for (let i = 0; i < 200; i++) hoard.push(new Array(10_000).fill(i + 0.5))
    setImmediate(more)
  }
  more()
})
