#!/usr/bin/env node
// Runs the command line on a Node that understands TypeScript: this one, else the one in node_modules.
import { spawn } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { findEntry } from './bundle.mjs'
import { keepCompiled } from './compile-cache.mjs'
import { currentIsNewEnough, findNode, NODE_MAJOR } from './node-runtime.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

if (currentIsNewEnough) {
  endWithLauncher()
  keepCompiled()
  await import(pathToFileURL(findEntry(root)).href)
} else {
  handOver(findNode(root))
}

/**
 * Ends the gateway when its launcher dies without a signal (kill -9, out of memory), so that the port is free for the
 * next one. As with Ctrl-C, running streams may end. A worker's channel is its supervisor's.
 */
function endWithLauncher() {
  if (process.env.PERSONA_ROUTER_LAUNCHER !== `${process.ppid}` || !process.channel) return
  process.channel.unref()
  process.on('disconnect', () => process.kill(process.pid, 'SIGINT'))
}

/** @param {string | undefined} node */
function handOver(node) {
  if (!node) {
    console.error(`persona-router needs Node ${NODE_MAJOR}; this is ${process.version}. Install it, or run: npm start`)
    process.exitCode = 1
    return
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    // The channel ends with this process, however it ends.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, PERSONA_ROUTER_LAUNCHER: `${process.pid}` },
  })
  child.on('error', (error) => {
    console.error(`persona-router: ${error.message}`)
    process.exitCode = 1
  })
  // A terminal sends Ctrl-C to the child as well, and a second one would cut its drain short.
  const onTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR2'])) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !onTerminal) child.kill(signal)
    })
  }
  child.on('exit', (code, signal) => {
    if (!signal) return process.exit(code ?? 1)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}
