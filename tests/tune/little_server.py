"""A real HTTP server whose behaviour is its settings: what tests of launching launch.

It answers every GET with its settings as JSON, and `/health` with 200, or 503 with `--health 503`.
"""

import argparse
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options.add_argument("--threads", type=int, default=1)
options.add_argument("--mode", default="fast")
options.add_argument("--health", type=int, default=200)
options.add_argument("--die", type=int, default=0, help="exit at once with this status")
options.add_argument("--stubborn", action="store_true", help="do not listen to SIGTERM")
options.add_argument("--stray", action="store_true", help="start a process in a session of its own")
options.add_argument("--background", action="store_true", help="leave the foreground, as daemons do")
given = options.parse_args()

if given.die:
    sys.exit(f"cannot run with mode {given.mode}: out of memory" if given.die == 1 else given.die)
if given.stubborn:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if given.background and os.fork():
    os._exit(0)
stray = None
if given.stray:
    stray = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)

shown = vars(given) | {"pid": os.getpid(), "stray": stray and stray.pid}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(3)
        body = json.dumps(shown).encode()
        self.send_response(given.health if self.path == "/health" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", given.port), Answer).serve_forever()
