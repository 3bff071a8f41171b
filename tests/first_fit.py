"""A scheduler of few lines: it knows the API, a kubeconfig, and nothing of this project.

``python first_fit.py KUBECONFIG [MODE]``: binds each pod to the first node, by number, whose cpu is
enough, and says so of the others. MODE ``mute`` answers for nothing, ``dies`` ends after the first
pod, ``shy`` says nothing of pods that do not fit, ``stubborn`` does not end when asked to.
"""

import http.client
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

MODE = sys.argv[2] if len(sys.argv) > 2 else ""


class Api:
    def __init__(self, kubeconfig):
        text = Path(kubeconfig).read_text()
        self.connection = http.client.HTTPConnection(
            urlsplit(re.search(r"server: (\S+)", text)[1]).netloc, timeout=10
        )
        self.headers = {"Authorization": "Bearer " + re.search(r"token: (\S+)", text)[1]}

    def ask(self, method, path, body=None, kind="application/json"):
        headers = {**self.headers, "Content-Type": kind}
        self.connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            print(answer.status, text.decode(), flush=True)
        return json.loads(text)


def milli(amount):
    return int(amount[:-1]) if amount.endswith("m") else round(float(amount) * 1000)


def requested_milli(pod):
    return sum(milli(each["resources"]["requests"]["cpu"]) for each in pod["spec"]["containers"])


def main(api):
    refused = {}
    while True:
        pods = [
            pod
            for pod in api.ask("GET", "/api/v1/pods")["items"]
            if pod["status"]["phase"] in ("Pending", "Running")
        ]
        nodes = api.ask("GET", "/api/v1/nodes")["items"]
        free = {
            node["metadata"]["name"]: milli(node["status"]["allocatable"]["cpu"])
            for node in sorted(nodes, key=lambda each: int(each["metadata"]["name"][1:]))
        }
        for pod in pods:
            if node := pod["spec"].get("nodeName"):
                free[node] -= requested_milli(pod)
        for pod in pods:
            if not pod["spec"].get("nodeName"):
                schedule(api, pod, free, refused)
        time.sleep(0.002)


def schedule(api, pod, free, refused):
    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
    node = next((name for name in free if free[name] >= requested_milli(pod)), None)
    if MODE == "mute":
        return
    if node is not None:
        free[node] -= requested_milli(pod)
        target = {"kind": "Node", "name": node}
        api.ask("POST", f"{path}/binding", {"metadata": {"name": meta["name"]}, "target": target})
        if MODE == "dies":
            print("I have done enough", flush=True)
            sys.exit(3)
    elif MODE != "shy" and refused.get(meta["uid"]) != free:
        refused[meta["uid"]] = dict(free)
        text = f"no room at {time.monotonic()}"
        condition = {"type": "PodScheduled", "status": "False", "message": text}
        patch = {"status": {"conditions": [condition]}}
        kind = "application/strategic-merge-patch+json"
        api.ask("PATCH", f"{path}/status", patch, kind)


if __name__ == "__main__":
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("same" if os.environ["KUBECONFIG"] == sys.argv[1] else "other", "KUBECONFIG")
    print("pid", os.getpid(), flush=True)
    main(Api(sys.argv[1]))
