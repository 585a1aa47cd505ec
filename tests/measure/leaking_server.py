"""A server that leaks on request, has a child process, and tells of itself in Prometheus' text format.

`python leaking_server.py METRICS`: METRICS is `ours`, `absent` (404), `broken` (not text), or `hangs`. Prints its port.
`/leak` keeps 8 MB and 5 descriptors more, `/burn` uses a fifth of a second of processor time, `/child` starts a child
that holds 30 MB, `/asked` tells how often the metrics were asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEPT: list[object] = []
CHILD = "import sys; kept = bytearray(30_000_000); kept[::4096] = b'x' * len(kept[::4096]); print(flush=True); sys.stdin.read()"
OURS = """# HELP paceline_queue_depth depth of queue
# TYPE paceline_queue_depth gauge
paceline_queue_depth{{model="a"}} 3.0
paceline_queue_depth{{model="b"}} 4.0
paceline_cache_replies_total{{tier="l1"}} {hits}
paceline_cache_replies_total{{tier="flight"}} 2.0
paceline_cache_replies_total{{tier="miss"}} 10.0
paceline_cache_replies_total{{tier="bypass"}} 100.0
"""


class Server(BaseHTTPRequestHandler):
    asked = 0
    metrics = "ours"

    def do_GET(self) -> None:
        body, status = b"ok", 200
        match self.path:
            case "/leak":
                block = bytearray(8_000_000)
                block[::4096] = b"x" * len(block[::4096])
                KEPT.extend([block, *(os.open("/dev/null", os.O_RDONLY) for _ in range(5))])
            case "/burn":
                end = time.thread_time() + 0.2
                while time.thread_time() < end:
                    pass
            case "/child":
                child = subprocess.Popen(
                    [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                assert child.stdout is not None
                child.stdout.readline()
                KEPT.append(child)
            case "/asked":
                body = str(Server.asked).encode()
            case "/metrics":
                Server.asked += 1
                body, status = self._page()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _page(self) -> tuple[bytes, int]:
        match Server.metrics:
            case "ours":
                return OURS.format(hits=float(Server.asked * 10)).encode(), 200
            case "broken":
                return bytes(range(256)), 200
            case "hangs":
                threading.Event().wait()
        return b"no such page", 404

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    Server.metrics = sys.argv[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    print(server.server_port, flush=True)  # noqa: T201 - for whoever started it
    server.serve_forever()
