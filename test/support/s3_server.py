"""A server that speaks S3 on a free port of this machine (moto): python s3_server.py.

Prints its address when it is up; ends when its standard input does, so that it never outlives the test.
"""

import logging
import sys

from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(f"http://127.0.0.1:{server.get_host_and_port()[1]}", flush=True)
sys.stdin.read()
server.stop()
