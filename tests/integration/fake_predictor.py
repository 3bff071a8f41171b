"""A small predictor over real HTTP: answers ``/predict/batch`` as told, keeps ``/feedback``."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakePredictor:
    """The server; a context manager that stops it.

    Attributes:
        p_success: By node, the same for every shape.
        load_scores: How little load there is, by node; if none, nothing is said of it.
        may_answer: Cleared, it keeps every answer back until it is set.
        status: What it answers with; anything but 200 is a failure.
        garbage: If set, the body of every answer.
        questions: The bodies of ``/predict/batch`` so far.
        feedback: The bodies of ``/feedback`` that were accepted.
    """

    def __init__(self, p_success: dict[str, float]) -> None:
        self.p_success = p_success
        self.load_scores: dict[str, int] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.status = 200
        self.garbage: bytes | None = None
        self.questions: list[dict[str, Any]] = []
        self.feedback: list[dict[str, Any]] = []
        self.n_requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FakePredictor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.n_requests += 1
        self.may_answer.wait(60.0)
        if self.status != 200:
            return self.status, b"{}"
        if path == "/feedback":
            self.feedback.append(body)
            answer: dict[str, Any] = {"accepted": True, "n_feedback": 1, "retraining": False}
            return 200, json.dumps(answer).encode()
        self.questions.append(body)
        if self.garbage is not None:
            return 200, self.garbage
        return 200, json.dumps(self._rate(body["shapes"])).encode()

    def _rate(self, shapes: list[dict[str, Any]]) -> dict[str, Any]:
        predictions = [
            {
                "prediction_id": f"q{len(self.questions)}-{i}",
                "scores": [round(100 * p) for p in self.p_success.values()],
                "p_success": list(self.p_success.values()),
                "load_scores": [self.load_scores[name] for name in self.p_success]
                if self.load_scores
                else None,
            }
            for i in range(len(shapes))
        ]
        return {
            "algorithm": "ml_prediction",
            "model_version": 7,
            "snapshot_version": 1,
            "snapshot_at_s": time.time(),
            "nodes": list(self.p_success),
            "predictions": predictions,
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = fake.answer(self.path, body)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
                pass

        return Handler
