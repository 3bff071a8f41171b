"""What users do to the cluster during a soak: seeded, and never more than it can nearly bear."""

import contextlib

import msgspec

from kube.client import MERGE_PATCH
from kube.errors import ConflictError, NotFoundError
from scheduler.simulator.cluster import KUBELET_ANNOTATION
from tests.builders import make_pod, to_wire

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
NODES = "/api/v1/nodes"
MAX_PODS = 120
NODE = {"cpu": "4", "memory": "8Gi", "pods": "20"}
"""Its kubelet tells how much of that pods can have, as soon as it runs."""
FEW = {"cpu": "1", "memory": "1Gi", "pods": "5"}
"""What a new node offers until then: no more, for what was placed on it would not fit any more."""
CPUS = ("250m", "500m", "1", "2", "3")
PRIORITIES = (0, 0, 40, 100, 160, 200)
SIZES = {"two": 2, "three": 3, "four": 4}


class Workload:
    """Pods, Deployments, gangs, priorities and nodes that come, change and go.

    Args:
        observer: Knows what is there, and has a connection without faults.
        rng: Decides what happens.
    """

    def __init__(self, observer, *, rng):
        self._observer = observer
        self._client = observer.client
        self._rng = rng
        self._n = 0
        self._deployments = {}
        self._deeds = {
            self.create_pods: 8,
            self.create_gang: 4,
            self.create_deployment: 2,
            self.scale_deployment: 3,
            self.delete_deployment: 1,
            self.delete_pods: 6,
            self.change_priority: 4,
            self.mark_node: 2,
            self.replace_node: 1,
        }

    def act(self):
        """Do one thing."""
        deed = self._rng.choices(list(self._deeds), list(self._deeds.values()))[0]
        # What was there a moment ago may be gone, or changed.
        with contextlib.suppress(NotFoundError, ConflictError):
            deed()

    def calm(self):
        """Let every node take pods again."""
        for name in list(self._observer.nodes):
            with contextlib.suppress(NotFoundError):
                self._mark(name, is_cordoned=False, is_tainted=False)

    # ----------------------------------------------------------------------------------- pods

    def _name(self, kind):
        self._n += 1
        return f"{kind}-{self._n}"

    def _is_full(self):
        return len(self._observer.pods) >= MAX_PODS

    def _requests(self):
        return {"cpu": self._rng.choice(CPUS), "memory": "64Mi"}

    def _create(self, name, **more):
        pod = to_wire(make_pod(name, **more))
        for key in ("uid", "resourceVersion", "creationTimestamp"):
            pod["metadata"].pop(key, None)
        self._post(PODS, {**pod, "apiVersion": "v1", "kind": "Pod"})

    def _post(self, path, document):
        self._client.post(path, body=msgspec.json.encode(document))

    def _patch(self, path, document):
        body = msgspec.json.encode(document)
        self._client.patch(path, body=body, content_type=MERGE_PATCH)

    def create_pods(self):
        for _ in range(self._rng.randint(1, 8)):
            if not self._is_full():
                priority = self._rng.choice(PRIORITIES)
                self._create(
                    self._name("pod"), requests=self._requests(), priority_annotation=priority
                )

    def create_gang(self):
        if self._is_full():
            return
        kind = self._rng.choice(list(SIZES))
        name, size, requests = self._name(kind), SIZES[kind], self._requests()
        priority = self._rng.choice(PRIORITIES)
        for number in range(size):
            self._create(
                f"{name}-{number}",
                requests=requests,
                priority_annotation=priority,
                group=name,
                group_size=size,
            )

    def create_deployment(self):
        if self._is_full() or len(self._deployments) >= 8:
            return
        name, size = self._name("deployment"), self._rng.randint(2, 4)
        is_gang = self._rng.random() < 0.5
        annotations = {"priority": str(self._rng.choice(PRIORITIES))}
        if is_gang:
            annotations |= {"pod-group": name, "pod-group-size": str(size)}
        labels = {"app": name}
        container = {"name": "app", "image": "app:1", "resources": {"requests": self._requests()}}
        template = {
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"schedulerName": "ai-scheduler", "containers": [container]},
        }
        spec = {"replicas": size, "selector": {"matchLabels": labels}, "template": template}
        document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}}
        self._post(DEPLOYMENTS, {**document, "spec": spec})
        self._deployments[name] = is_gang

    def scale_deployment(self):
        name = self._any([name for name, is_gang in self._deployments.items() if not is_gang])
        if name and not self._is_full():
            replicas = self._rng.randint(0, 6)
            self._patch(f"{DEPLOYMENTS}/{name}", {"spec": {"replicas": replicas}})

    def delete_deployment(self):
        name = self._any(list(self._deployments))
        if name:
            del self._deployments[name]
            self._client.delete(f"{DEPLOYMENTS}/{name}")

    def delete_pods(self):
        for _ in range(self._rng.randint(1, 6)):
            pod = self._any_pod()
            if pod is not None:
                self._client.delete(f"{PODS}/{pod.name}")

    def change_priority(self):
        pod = self._any_pod()
        if pod is not None:
            annotations = {"priority": str(self._rng.choice(PRIORITIES))}
            self._patch(f"{PODS}/{pod.name}", {"metadata": {"annotations": annotations}})

    def _any(self, items):
        return self._rng.choice(sorted(items)) if items else None

    def _any_pod(self):
        with self._observer.lock:
            pods = {pod.name: pod for pod in self._observer.pods.values()}
        name = self._any(list(pods))
        return None if name is None else pods[name]

    # ---------------------------------------------------------------------------------- nodes

    def mark_node(self):
        name = self._any(list(self._observer.nodes))
        if name:
            is_cordoned, is_tainted = self._rng.random() < 0.3, self._rng.random() < 0.2
            self._mark(name, is_cordoned=is_cordoned, is_tainted=is_tainted)

    def _mark(self, name, *, is_cordoned, is_tainted):
        taints = [{"key": "dedicated", "effect": "NoSchedule"}] if is_tainted else None
        spec = {"unschedulable": is_cordoned or None, "taints": taints}
        self._patch(f"{NODES}/{name}", {"spec": spec})

    def replace_node(self):
        """Take a node away with all that runs there, and add another."""
        name = self._any(list(self._observer.nodes))
        if name:
            self._client.delete(f"{NODES}/{name}")
        new = self._name("node")
        document = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": new,
                "labels": {"kubernetes.io/hostname": new},
                "annotations": {KUBELET_ANNOTATION: "true"},
            },
            "status": {"capacity": NODE, "allocatable": FEW},
        }
        self._post(NODES, document)
