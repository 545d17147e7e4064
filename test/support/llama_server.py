"""llama.cpp's HTTP server on a free port of this machine: python llama_server.py MODEL.gguf.

Prints its address when it is up; ends when its standard input does, so that it never outlives the test.
"""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = 4096
params.n_parallel = 2
# One: with more, threads spin at barriers, which on a busy machine takes ten times as long.
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
# The same answer each time, unless a request says otherwise.
params.sampling.temp = 0.0
params.ui = False
params.endpoint_slots = True
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
