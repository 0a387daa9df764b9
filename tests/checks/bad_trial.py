"""A driver that hangs, or ends its process, in place of `edge_app.checks.gpu_trial`; the argument says which."""

from __future__ import annotations

import json
import os
import sys
import threading

if __name__ == "__main__":
    print(json.dumps({"openvino": "2026.4.1-1", "driver": "25.18"}), flush=True)
    print(json.dumps({"stage": "compile"}), flush=True)
    if sys.argv[1] == "hang":
        threading.Event().wait()
    os.abort()
