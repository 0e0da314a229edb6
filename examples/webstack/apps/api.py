import http.server, os, signal, threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"release {os.environ['RELEASE']} of the api\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
# What has begun is answered before the end.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
