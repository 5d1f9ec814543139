// The package `@kubernetes/client-node` as its users use it: typed objects, patches, watches, an informer, exec, logs, port-forward.
//
// Each check is a function; what it expects of the API is an assertion. Runs against the current context, with one node on which
// the demo image lies. Prints a line for each check that held.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import net from 'node:net';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

// packages lie where NODE_PATH says, which `import` does not look at; and older Node.js cannot `require` modules
const k8s = await import(pathToFileURL(createRequire(import.meta.url).resolve('@kubernetes/client-node')));

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const namespace = 'javascript';

async function refused(code, reason, call) {
    try {
        await call();
    } catch (error) {
        const body = JSON.parse(error.body);
        assert.deepEqual([error.code, body.reason], [code, reason], error.body);
        return body.message;
    }
    assert.fail(`not refused with ${code} ${reason}`);
}

// Until `done` gives something, which `subscribe` is to try at every change.
function until(what, subscribe) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`not seen within 60 s: ${what}`)), 60_000);
        subscribe((value) => {
            clearTimeout(timer);
            resolve(value);
        }, reject);
    });
}

const labels = { app: 'javascript' };

async function objects() {
    const body = { metadata: { name: 'one', labels }, data: { k: 'v' } };
    const made = await core.createNamespacedConfigMap({ namespace, body });
    assert.ok(made.metadata.creationTimestamp instanceof Date);
    assert.match(await refused(409, 'AlreadyExists', () => core.createNamespacedConfigMap({ namespace, body })), /already exists/);
    const patch = (content, type) =>
        core.patchNamespacedConfigMap({ namespace, name: 'one', body: content }, k8s.setHeaderOptions('Content-Type', type));
    assert.deepEqual((await patch([{ op: 'replace', path: '/data/k', value: 'w' }], k8s.PatchStrategy.JsonPatch)).data, { k: 'w' });
    assert.deepEqual((await patch({ data: { l: 'x' } }, k8s.PatchStrategy.StrategicMergePatch)).data, { k: 'w', l: 'x' });
    assert.deepEqual((await patch({ data: { k: null } }, k8s.PatchStrategy.MergePatch)).data, { l: 'x' });
    const list = await core.listNamespacedConfigMap({ namespace, labelSelector: 'app in (javascript)' });
    assert.deepEqual(list.items.map((item) => item.metadata.name), ['one']);
    const applied = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace }, data: { a: '1' } };
    const general = k8s.KubernetesObjectApi.makeApiClient(config);
    const again = await general.patch(applied, undefined, undefined, 'javascript', true, k8s.PatchStrategy.ServerSideApply);
    assert.deepEqual(again.metadata.managedFields.map((f) => [f.manager, f.operation]), [['javascript', 'Apply']]);
    await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'app=javascript' });
    await refused(404, 'NotFound', () => core.readNamespacedConfigMap({ namespace, name: 'one' }));
}

async function watches() {
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const seen = [];
    let request;
    await until('three changes', (resolve, reject) => {
        const change = (type, object) => {
            if (object.metadata.name !== 'watched') return;
            seen.push([type, object.data?.n]);
            if (seen.length === 3) resolve();
        };
        new k8s.Watch(config)
            .watch(path, { allowWatchBookmarks: true }, change, (error) => error && reject(error))
            .then(async (started) => {
                request = started;
                const object = { metadata: { name: 'watched' }, data: { n: '1' } };
                await core.createNamespacedConfigMap({ namespace, body: object });
                await core.replaceNamespacedConfigMap({ namespace, name: 'watched', body: { ...object, data: { n: '2' } } });
                await core.deleteNamespacedConfigMap({ namespace, name: 'watched' });
            })
            .catch(reject);
    });
    request.abort();
    assert.deepEqual(seen, [['ADDED', '1'], ['MODIFIED', '2'], ['DELETED', '2']]);
}

// A Deployment, seen through an informer until its pods are ready; the name of one of them.
async function workloads() {
    const list = () => core.listNamespacedPod({ namespace, labelSelector: 'app=javascript' });
    const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/pods`, list, 'app=javascript');
    const ready = new Set();
    const seen = until('two ready pods', (resolve, reject) => {
        const look = (pod) => {
            if (pod.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')) ready.add(pod.metadata.name);
            if (ready.size === 2) resolve();
        };
        informer.on('add', look);
        informer.on('update', look);
        informer.on('error', reject);
    });
    await informer.start();
    const container = {
        name: 'web',
        image: 'coracle.dev/demo:v1',
        args: ['web'],
        ports: [{ name: 'http', containerPort: 8080 }],
        readinessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1 },
    };
    const template = { metadata: { labels }, spec: { containers: [container], terminationGracePeriodSeconds: 1 } };
    const spec = { replicas: 2, selector: { matchLabels: labels }, template };
    await apps.createNamespacedDeployment({ namespace, body: { metadata: { name: 'web' }, spec } });
    await seen;
    await informer.stop();
    return [...ready][0];
}

async function pods(name) {
    const collect = () => {
        const chunks = [];
        const to = new Writable({ write: (chunk, _, done) => (chunks.push(chunk), done()) });
        return [to, () => Buffer.concat(chunks).toString()];
    };
    const run = (command) =>
        new Promise((resolve, reject) => {
            const [out, stdout] = collect();
            const [err, stderr] = collect();
            const ended = (status) => resolve({ status, stdout: stdout(), stderr: stderr() });
            new k8s.Exec(config)
                .exec(namespace, name, 'web', ['/coracle', 'app', ...command], out, err, null, false, ended)
                .catch(reject);
        });
    const good = await run(['get', '127.0.0.1:8080', '/healthz']);
    assert.equal(good.status.status, 'Success', JSON.stringify(good));
    const bad = await run(['nonsense']);
    assert.equal(bad.status.reason, 'NonZeroExitCode', JSON.stringify(bad));
    assert.ok(bad.stderr.length > 0);

    const [out] = collect();
    const following = await new k8s.Log(config).log(namespace, name, 'web', out, { follow: true, tailLines: 5 });
    following.abort();

    const forward = new k8s.PortForward(config);
    const server = net.createServer((socket) => forward.portForward(namespace, name, [8080], socket, null, socket));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const answer = await new Promise((resolve, reject) => {
        const socket = net.connect(server.address().port, '127.0.0.1');
        let text = '';
        socket.on('data', (chunk) => {
            text += chunk;
            if (text.includes('\r\n\r\n')) {
                socket.destroy();
                resolve(text);
            }
        });
        socket.on('error', reject);
        socket.write('GET /healthz HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n');
    });
    server.close();
    assert.match(answer, /^HTTP\/1.1 200/);
}

await core.createNamespace({ body: { metadata: { name: namespace } } });
for (const check of [objects, watches]) {
    await check();
    console.log(check.name);
}
const name = await workloads();
console.log('workloads');
await pods(name);
console.log('pods');
await core.deleteNamespace({ name: namespace });
// connections that are kept for reuse hold the process up
process.exit(0);
