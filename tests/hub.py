"""A model hub on a free loopback port, as far as `huggingface_hub` asks one for the files of a commit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def hub(repository: str, commits: Mapping[str, Path], main: Sequence[str]) -> Iterator[str]:
    """The URL of a hub with one repository.

    `commits` -> the folder of its files; `main`: the commits that this branch is at, each for one request that names
    the branch, the last one from then on.
    """
    ahead = list(main)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._serve(whole=False)

        def do_GET(self) -> None:
            self._serve(whole=True)

        def _serve(self, *, whole: bool) -> None:
            revision, _, name = self.path.partition("?")[0].removeprefix(f"/{repository}/resolve/").partition("/")
            commit = ahead[0] if revision == "main" else revision
            if revision == "main" and len(ahead) > 1:
                del ahead[0]
            path = commits.get(commit, Path("nowhere")) / name
            if not path.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound" if repository in self.path else "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = path.read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{commit}-{name}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if whole:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the tests look at what was loaded."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, name="hub", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
