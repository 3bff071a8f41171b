"""The simulated cluster as tests run it: a program of its own, on a free port."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import requests

WAIT_S = 30.0


def wait_for(condition):
    """Wait until *condition* gives something, and return that."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {WAIT_S} s")


def command(*arguments):
    return [sys.executable, "-m", "scheduler.simulator", *arguments]


def clean_environment():
    return {k: v for k, v in os.environ.items() if k != "SIMULATOR_TOKEN"}


class Program:
    """A running ``serve``."""

    def __init__(self, process, url):
        self.process = process
        self.url = url

    def get(self, path, **options):
        return requests.get(self.url + path, timeout=10, **options)

    def post(self, path, body, **options):
        return requests.post(self.url + path, json=body, timeout=10, **options)

    def items(self, path):
        answer = self.get(path)
        answer.raise_for_status()
        return answer.json()["items"]

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(timeout=WAIT_S)


@contextlib.contextmanager
def serving(*options):
    """Start ``serve`` on a free port, and end it."""
    process = subprocess.Popen(
        command("serve", "--port=0", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        text=True,
    )
    try:
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        if address is None:
            process.kill()
            raise AssertionError(f"{line}{process.stderr.read()}")
        yield Program(process, address[0])
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
