"""A small Hugging Face Hub on this machine, for the real client: the addresses it asks, over files in a folder."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Repositories by `owner/name`, each a mapping of file name to bytes under a commit.

    `gated` repositories answer 403, `private` ones 401. `asked` is every path that was asked for. After `cut` bytes of
    a weight file the connection breaks, once; `resumed` is where downloads went on. `announced` digests are told
    instead of those of the bytes that are sent.
    """

    def __init__(self):
        self.repositories, self.asked = {}, []
        self.gated, self.private = set(), set()
        self.cut = None
        self.resumed, self.announced = [], {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def add(self, name, folder, commit="a" * 40, **more):
        files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self.repositories[name] = (commit, files | more)

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def downloads(self):
        """The files whose bytes were sent."""
        return sorted(
            {path.rpartition("/")[2] for method, path in self.asked if method == "GET" and "/resolve/" in path}
        )

    def about(self, name, tree):
        commit, files = self.repositories[name]
        listed = [
            {
                "type": "file",
                ("path" if tree else "rfilename"): file,
                "size": len(content),
                ("oid" if tree else "blobId"): hashlib.sha1(content).hexdigest(),
                **({"lfs": lfs(content, self.announced.get(file))} if large(file) else {}),
            }
            for file, content in files.items()
        ]
        return listed if tree else {"id": name, "modelId": name, "sha": commit, "siblings": listed, "private": False}


def large(name):
    return name.endswith((".safetensors", ".bin", ".gguf"))


def lfs(content, announced=None):
    digest = announced or hashlib.sha256(content).hexdigest()
    return {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 134}


def etag(name, content):
    return hashlib.sha256(content).hexdigest() if large(name) else hashlib.sha1(content).hexdigest()


def handler_of(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def refuse(self, status, code, said):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", said)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, content, headers=(), body=True):
            self.send_response(200)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def answer(self, body):
            path = self.path.partition("?")[0]
            hub.asked.append((self.command, path))
            api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
            file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            name = (api or file)[1] if api or file else None
            if name in hub.private or name not in hub.repositories:
                return self.refuse(401 if name in hub.private else 404, "RepoNotFound", "Repository not found")
            if name in hub.gated and file:
                return self.refuse(403, "GatedRepo", "Access to this model is restricted")
            commit, files = hub.repositories[name]
            wanted = (api[3] if api else file[2]) or "main"
            if wanted not in {"main", commit}:
                return self.refuse(404, "RevisionNotFound", "Revision not found")
            if api:
                return self.send(json.dumps(hub.about(name, tree=api[2] == "tree")).encode())
            return self.file(files, file[3], commit, body)

        def file(self, files, wanted, commit, body):
            if wanted not in files:
                return self.refuse(404, "EntryNotFound", "Entry not found")
            content = files[wanted]
            headers = [
                ("X-Repo-Commit", commit),
                ("ETag", f'"{hub.announced.get(wanted) or etag(wanted, content)}"'),
                ("Accept-Ranges", "bytes"),
            ]
            start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
            if not start and not (body and hub.cut and large(wanted)):
                return self.send(content, headers, body)
            self.send_response(206 if start else 200)
            for name, value in headers:
                self.send_header(name, value)
            if start:
                hub.resumed.append(start)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if body and hub.cut and not start:
                self.wfile.write(content[: hub.cut])
                hub.cut = None
                self.close_connection = True
            elif body:
                self.wfile.write(content[start:])
            return None

    return Handler
