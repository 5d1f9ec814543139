"""The Python package `kubernetes` as its users use it: typed and dynamic clients, watches, pages, exec, logs, port-forward.

Each check is a function; what it expects of the API is an assertion. Runs against the current context, with one node on which
the demo image lies. Prints a line for each check that held.
"""

import json
import sys

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.dynamic.exceptions import ConflictError
from kubernetes.stream import portforward, stream

NAMESPACE = "python"
IMAGE = "coracle.dev/demo:v1"


def refused(status, reason, call):
    """The call has to be refused like this; the message."""
    try:
        call()
    except ApiException as error:
        body = json.loads(error.body)
        assert (error.status, body["reason"]) == (status, reason), body
        return body["message"]
    raise AssertionError(f"not refused with {status} {reason}")


def web(name, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": IMAGE,
                    "args": ["web"],
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
                }
            ],
            "terminationGracePeriodSeconds": 0,
        },
    }


def objects(core):
    """Made, read, replaced, patched, refused, deleted."""
    made = core.create_namespaced_config_map(
        NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="one", labels={"a": "b"}), data={"k": "v"})
    )
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo, made.metadata
    made.data["k"] = "w"
    newer = core.replace_namespaced_config_map("one", NAMESPACE, made)
    assert newer.data == {"k": "w"}, newer
    made.metadata.resource_version = "1"
    message = refused(409, "Conflict", lambda: core.replace_namespaced_config_map("one", NAMESPACE, made))
    assert "the object has been modified" in message, message
    message = refused(409, "AlreadyExists", lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "one"}}))
    assert message == 'configmaps "one" already exists', message
    message = refused(422, "Invalid", lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "One"}}))
    assert message.startswith('ConfigMap "One" is invalid: metadata.name: Invalid value: "One"'), message
    patched = core.patch_namespaced_config_map("one", NAMESPACE, {"data": {"k": None, "l": "x"}})
    assert patched.data == {"l": "x"}, patched
    patched = core.patch_namespaced_config_map("one", NAMESPACE, [{"op": "add", "path": "/data/m", "value": "y"}])
    assert patched.data == {"l": "x", "m": "y"}, patched
    core.delete_namespaced_config_map("one", NAMESPACE)
    refused(404, "NotFound", lambda: core.read_namespaced_config_map("one", NAMESPACE))


def pages_and_watches(core):
    """A list in pages, all of one revision, and a watch from there: nothing is missed, nothing comes twice."""
    names = [f"page-{n:02}" for n in range(25)]
    for name in names:
        core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": name, "labels": {"paged": "yes"}}})
    seen, token = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes", limit=10, _continue=token)
        if token is None:
            core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "later", "labels": {"paged": "yes"}}})
        seen += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert seen == names, seen
    core.patch_namespaced_config_map("page-00", NAMESPACE, {"metadata": {"labels": {"paged": "no"}}})
    core.delete_namespaced_config_map("page-01", NAMESPACE)
    events, changes = [], watch.Watch()
    for event in changes.stream(
        core.list_namespaced_config_map,
        NAMESPACE,
        label_selector="paged=yes",
        resource_version=page.metadata.resource_version,
        timeout_seconds=20,
    ):
        events.append((event["type"], event["object"].metadata.name))
        if len(events) == 3:
            changes.stop()
    assert events == [("ADDED", "later"), ("DELETED", "page-00"), ("DELETED", "page-01")], events
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="paged=yes")
    left = core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes").items
    assert not left, left


def workloads(apps):
    """A Deployment, scaled through its subresource, and what becomes of it."""
    labels = {"app": "python"}
    pod = web("")
    apps.create_namespaced_deployment(
        NAMESPACE,
        {
            "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {**pod["spec"], "terminationGracePeriodSeconds": 1}}},
        },
    )
    assert apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 2}}).spec.replicas == 2
    for event in watch.Watch().stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=60):
        if event["object"].status.ready_replicas == 2:
            break
    else:
        raise AssertionError("the two replicas did not become ready")
    apps.delete_namespaced_deployment("web", NAMESPACE, propagation_policy="Foreground")


def applied(api):
    """Server-side apply through the dynamic client: fields have owners, and conflicts say whose they are."""
    maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")

    def apply(data, manager, **options):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": data}
        return maps.server_side_apply(body=body, namespace=NAMESPACE, field_manager=manager, **options)

    assert apply({"a": "1", "b": "1"}, "first").data.to_dict() == {"a": "1", "b": "1"}
    try:
        apply({"a": "2"}, "second")
        raise AssertionError("no conflict")
    except ConflictError as error:
        assert 'conflict with "first"' in error.summary(), error.summary()
    assert apply({"a": "2"}, "second", force_conflicts=True).data.a == "2"
    assert apply({"b": "2"}, "first").data.to_dict() == {"a": "2", "b": "2"}
    owners = {entry.manager: entry.operation for entry in maps.get(name="applied", namespace=NAMESPACE).metadata.managedFields}
    assert owners == {"first": "Apply", "second": "Apply"}, owners


def custom(api):
    """A definition, and at once its objects."""
    extensions, objects = client.ApiextensionsV1Api(api), client.CustomObjectsApi(api)
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1, "default": 3}}}},
    }
    extensions.create_custom_resource_definition(
        {
            "metadata": {"name": "boxes.python.example.com"},
            "spec": {
                "group": "python.example.com",
                "scope": "Namespaced",
                "names": {"plural": "boxes", "singular": "box", "kind": "Box"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}],
            },
        }
    )
    for event in watch.Watch().stream(
        extensions.list_custom_resource_definition, field_selector="metadata.name=boxes.python.example.com", timeout_seconds=10
    ):
        conditions = event["object"].status.conditions or [] if event["object"].status else []
        if any(c.type == "Established" and c.status == "True" for c in conditions):
            break
    at = ("python.example.com", "v1", NAMESPACE, "boxes")
    box = {"apiVersion": "python.example.com/v1", "kind": "Box", "metadata": {"name": "b"}, "spec": {}}
    assert objects.create_namespaced_custom_object(*at, box)["spec"] == {"size": 3}
    bad = {**box, "metadata": {"name": "c"}, "spec": {"size": 0}}
    message = refused(422, "Invalid", lambda: objects.create_namespaced_custom_object(*at, bad))
    assert "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1" in message, message
    assert objects.patch_namespaced_custom_object(*at, "b", {"spec": {"size": 5}})["metadata"]["generation"] == 2
    objects.patch_namespaced_custom_object_status(*at, "b", {"status": {}})
    assert len(objects.list_namespaced_custom_object(*at)["items"]) == 1
    extensions.delete_custom_resource_definition("boxes.python.example.com")


def pods(core):
    """Into a running pod: commands with their exit codes, output and input apart, logs, a forwarded port."""
    core.create_namespaced_pod(NAMESPACE, web("pod"))
    for event in watch.Watch().stream(core.list_namespaced_pod, NAMESPACE, field_selector="metadata.name=pod", timeout_seconds=60):
        if any(c.type == "Ready" and c.status == "True" for c in event["object"].status.conditions or []):
            break
    else:
        raise AssertionError("the pod did not become ready")

    def run(*command):
        session = stream(
            core.connect_get_namespaced_pod_exec,
            "pod",
            NAMESPACE,
            command=["/coracle", "app", *command],
            stdout=True,
            stderr=True,
            stdin=True,
            _preload_content=False,
        )
        session.run_forever(timeout=20)
        return session.returncode, session.read_stdout(), session.read_stderr()

    code, out, _ = run("get", "127.0.0.1:8080", "/healthz")
    assert code == 0, (code, out)
    code, _, complaint = run("nonsense")
    assert code != 0 and complaint, (code, complaint)
    assert core.read_namespaced_pod_log("pod", NAMESPACE, tail_lines=1) is not None

    forward = portforward(core.connect_get_namespaced_pod_portforward, "pod", NAMESPACE, ports="8080")
    connection = forward.socket(8080)
    connection.setblocking(True)
    # the connection is kept: this package drops what it has not passed on yet when the end arrives in the same read
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: pod\r\n\r\n")
    answer = b""
    while b"\r\n\r\n" not in answer and (part := connection.recv(4096)):
        answer += part
    assert answer.startswith(b"HTTP/1.1 200"), answer
    connection.close()
    core.delete_namespaced_pod("pod", NAMESPACE, grace_period_seconds=0)


def main():
    config.load_kube_config()
    api = client.ApiClient()
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    core.create_namespace({"metadata": {"name": NAMESPACE}})
    for check, argument in [(objects, core), (pages_and_watches, core), (applied, api), (custom, api), (workloads, apps), (pods, core)]:
        check(argument)
        print(check.__name__, flush=True)
    core.delete_namespace(NAMESPACE)


if __name__ == "__main__":
    sys.exit(main())
