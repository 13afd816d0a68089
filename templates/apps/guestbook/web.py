"""The page: entries, a form for a new one, and /healthz."""

import html
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import book

MAX_FORM = 10_000  # bytes
MAX_NAME, MAX_TEXT = 60, 1_000  # characters

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.05rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; background: #fafaf7 }}
h1 {{ margin-bottom: .2rem }} p.by {{ color: #666; margin-top: 0 }}
form {{ display: grid; gap: .6rem; margin: 1.5rem 0 }}
input, textarea, button {{ font: inherit; padding: .5rem; border: 1px solid #bbb;
  border-radius: .4rem }}
button {{ background: #246; color: #fff; border: 0; justify-self: start; padding: .5rem 1.2rem }}
article {{ border-top: 1px solid #ddd; padding: .8rem 0 }}
article p {{ margin: .2rem 0; white-space: pre-wrap; overflow-wrap: anywhere }}
small {{ color: #666 }}
</style></head><body>
<h1>{title}</h1><p class="by">{count}</p>
<form method="post" action="/">
<input name="name" placeholder="Your name" maxlength="60" required>
<textarea name="text" rows="3" placeholder="A line or two" maxlength="1000" required></textarea>
<button>Write</button></form>
{entries}
</body></html>
"""

ENTRY = "<article><p>{text}</p><small>{name}, {when}{words}</small></article>"


class Page(BaseHTTPRequestHandler):
    """Answers one request."""

    server_version = "guestbook"
    timeout = 30

    def do_GET(self):
        """The page, or whether all is well."""
        if self.path == "/healthz":
            opened = book.opened()
            opened.execute("SELECT COUNT(*) FROM entries")
            opened.close()
            self._answer(200, "text/plain", "ok\n")
        elif self.path == "/":
            self._answer(200, "text/html", _page())
        else:
            self._answer(404, "text/plain", "There is only one page: /\n")

    def do_POST(self):
        """A new entry."""
        size = self.headers.get("Content-Length", "")
        if self.path != "/" or not size.isdigit() or int(size) > MAX_FORM:
            self.close_connection = True
            self._answer(400, "text/plain", "That is no entry.\n")
            return
        form = parse_qs(self.rfile.read(int(size)).decode("utf-8", "replace"))
        name = form.get("name", [""])[0].strip()[:MAX_NAME]
        text = form.get("text", [""])[0].strip()[:MAX_TEXT]
        if not name or not text:
            self._answer(400, "text/plain", "An entry needs a name and a text.\n")
            return
        opened = book.opened()
        book.add(opened, name, text)
        opened.close()
        self.send_response(303)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind + "; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        """Requests are logged, health checks are not."""
        if getattr(self, "path", "") != "/healthz":
            print(form % values, flush=True)


def _page():
    opened = book.opened()
    entries = book.newest(opened)
    opened.close()
    shown = "\n".join(
        ENTRY.format(
            text=html.escape(text),
            name=html.escape(name),
            when=time.strftime("%Y-%m-%d %H:%M", time.localtime(written)),
            words="" if words is None else ", %d word%s" % (words, "" if words == 1 else "s"),
        )
        for name, text, written, words in entries
    )
    count = "Nobody wrote yet. Be the first!" if not entries else "Newest first."
    title = html.escape(os.environ["TITLE"])
    return PAGE.format(title=title, count=count, entries=shown)


def main():
    """Serve until told to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    address = (os.environ["HOST"], int(os.environ["PORT"]))
    print("serving on http://%s:%d/" % address, flush=True)
    ThreadingHTTPServer(address, Page).serve_forever()


if __name__ == "__main__":
    main()
