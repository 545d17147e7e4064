#!/usr/bin/env node
// Runs the router model's numerical tests as an old CPU, one with AVX2, and this machine's own would compute them.
//   npm run test:cpu                     all of them, minutes each
//   npm run test:cpu -- --only avx2      one of them (or several: --only default,avx2)
//   npm run test:cpu -- tests/export     what is no option goes to pytest
// ONNX Runtime picks its code by the CPU itself and can't be told otherwise: its figures are this machine's every time.
import { runLanes, summarise } from './lib/lanes.mjs'
import { inVenv, routerModel } from './lib/paths.mjs'

/** Tests that compute little and take long: gateways, servers, child processes. */
const SLOW = ['tests/collect', 'tests/retrain/test_log.py', 'tests/test_boundary.py']

/** What each library obeys: PyTorch, oneDNN, MKL, OpenBLAS, NumPy. */
const CPUS = {
  default: {
    ATEN_CPU_CAPABILITY: 'default',
    ONEDNN_MAX_CPU_ISA: 'SSE41',
    MKL_CBWR: 'COMPATIBLE',
    MKL_ENABLE_INSTRUCTIONS: 'SSE4_2',
    OPENBLAS_CORETYPE: 'Nehalem',
    NPY_DISABLE_CPU_FEATURES: 'X86_V3 X86_V4 AVX512_ICL AVX512_SPR',
  },
  avx2: {
    ATEN_CPU_CAPABILITY: 'avx2',
    ONEDNN_MAX_CPU_ISA: 'AVX2',
    MKL_CBWR: 'AVX2',
    MKL_ENABLE_INSTRUCTIONS: 'AVX2',
    OPENBLAS_CORETYPE: 'Haswell',
    NPY_DISABLE_CPU_FEATURES: 'X86_V4 AVX512_ICL AVX512_SPR',
  },
  machine: {},
}

const [flag, list = '', ...rest] =
  process.argv[2] === '--only' ? process.argv.slice(2) : ['', '', ...process.argv.slice(2)]
const wanted = flag ? list.split(',') : Object.keys(CPUS)
const unknown = wanted.find((name) => !(name in CPUS))
if (unknown !== undefined) {
  console.error(
    `No such CPU: "${unknown}"\nusage: npm run test:cpu -- [--only ${Object.keys(CPUS).join(',')}] [arguments for pytest]`,
  )
  process.exit(2)
}

const checks = Object.entries(CPUS)
  .filter(([name]) => wanted.includes(name))
  // Other machines have other names for what they can do, and "default" is all that PyTorch can be told there.
  .map(([name, env]) => [name, process.arch === 'x64' || name === 'machine' ? env : { ATEN_CPU_CAPABILITY: 'default' }])
  .filter(([name]) => name !== 'avx2' || process.arch === 'x64')
  .map(([name, env]) => ({
    name: /** @type {string} */ (name),
    command: inVenv('pytest'),
    args: ['-p', 'no:cacheprovider', '-rfE', ...SLOW.map((path) => `--ignore=${path}`), ...rest],
    cwd: routerModel,
    env: { ...process.env, OMP_NUM_THREADS: '1', .../** @type {Record<string, string>} */ (env) },
    closing: /^(?:FAILED|ERROR) |\b(?:passed|failed|errors?|no tests ran)\b.* in [\d.]+s/,
  }))

const started = Date.now()
const results = await runLanes([checks])
process.stdout.write(summarise(results, Date.now() - started, 'npm run test:cpu -- --only'))
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
