import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments, stringify } from 'yaml';
import * as z from 'zod';
import { hasFileVariant, VARIABLE_NAMES } from '../../src/config/variables.ts';
import { runCommand, type CommandResult } from '../../src/demo/run-command.ts';
import { WorkDir } from '../../src/demo/work-dir.ts';
import { programMissing } from '../support/debian-package.ts';
import { form } from '../support/forms.ts';
import { hasKubernetesTools, kubernetesTools } from '../support/kubernetes-tools.ts';
import { alertRules } from '../support/monitoring-files.ts';

const CHART = fileURLToPath(new URL('../../deploy/helm/spoor', import.meta.url));
const PLAIN = fileURLToPath(new URL('../../deploy/kubernetes/tserver-with-spoor.yaml', import.meta.url));
/** The oldest that its users still run, and a new one. */
const VERSIONS = ['1.29.0', '1.36.0'];
const [NEWEST] = VERSIONS.slice(-1);
const VARIABLES = new Set<string>(
  VARIABLE_NAMES.flatMap((name) => (hasFileVariant(name) ? [name, `${name}_FILE`] : [name])),
);

const LEAST = {
  kudu: { masters: ['master-0:7051', 'master-1:7051'] },
  secrets: { create: { 'http-token': 'a', 'http-token-read': 'b' } },
};
const MOST = {
  ...LEAST,
  secrets: { existingSecret: 'mine', files: { SPOOR_KAFKA_SASL_PASSWORD_FILE: 'kafka-password' } },
  tls: { secretName: 'spoor-tls', clientCa: true },
  env: { SPOOR_KAFKA_BROKERS: 'kafka-0:9093', SPOOR_KAFKA_SSL: true, SPOOR_NICE: 5 },
  extraEnv: [{ name: 'NODE_EXTRA_CA_CERTS', value: '/etc/ssl/more.pem' }],
  imagePullSecrets: [{ name: 'registry' }],
  tserver: { replicas: 5, storage: { size: '1Ti', storageClassName: 'fast' }, resources: { requests: { cpu: '4' } } },
  podAnnotations: { 'example.org/a': 'b' },
  podLabels: { team: 'data' },
  nodeSelector: { disk: 'nvme' },
  tolerations: [{ key: 'kudu', operator: 'Exists' }],
  affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
  prometheusRule: { enabled: true },
};

const container = z.looseObject({
  name: z.string(),
  env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })),
  volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string() })),
});
const podSpec = z.looseObject({
  enableServiceLinks: z.boolean(),
  containers: z.array(container),
  volumes: z.array(z.looseObject({ name: z.string() })),
});
const manifest = z.looseObject({ kind: z.string(), spec: z.looseObject({}).optional() });
const statefulSet = z.looseObject({ spec: z.looseObject({ template: z.looseObject({ spec: podSpec }) }) });

const skip =
  (hasKubernetesTools() ? false : form<string | false>('only in test:long, where Go compiles helm', false)) ||
  (await programMissing(kubernetesTools(VERSIONS)));

async function template(values: object, kubernetes = NEWEST!, chart = CHART): Promise<CommandResult> {
  await using dir = await WorkDir.create('spoor-test-helm');
  const file = join(dir.path, 'values.yaml');
  await writeFile(file, stringify(values));
  const { helm } = await kubernetesTools(VERSIONS);
  return await runCommand(helm, ['template', 'kudu-tserver', chart, '--kube-version', kubernetes, '--values', file]);
}

/** @throws where Kubernetes would not take it, but for kinds of the Prometheus operator */
async function assertConforms(text: string, kubernetes: string): Promise<void> {
  await using dir = await WorkDir.create('spoor-test-kubeconform');
  const file = join(dir.path, 'manifests.yaml');
  await writeFile(file, text);
  const { kubeconform, schemas } = await kubernetesTools(VERSIONS);
  const { exitCode, output } = await runCommand(kubeconform, [
    ...['-strict', '-summary', '-kubernetes-version', kubernetes, '-schema-location', schemas],
    ...['-skip', 'PodMonitor,ServiceMonitor,PrometheusRule', file],
  ]);
  assert.equal(exitCode, 0, output);
  assert.match(output, /Valid: [1-9]\d*, Invalid: 0, Errors: 0/);
}

async function render(values: object, kubernetes = NEWEST!): Promise<string> {
  const { exitCode, stdout, output } = await template(values, kubernetes);
  assert.equal(exitCode, 0, output);
  return stdout;
}

const documents = (text: string) => parseAllDocuments(text).map((each) => manifest.parse(each.toJS()));

function podOf(text: string): z.output<typeof podSpec> {
  const found = documents(text).find(({ kind }) => kind === 'StatefulSet');
  return statefulSet.parse(found).spec.template.spec;
}

describe('the Helm chart', { skip, timeout: 1_200_000 }, () => {
  for (const [title, values] of Object.entries({ 'as little': LEAST, 'as much': MOST }))
    it(`makes what Kubernetes takes of ${title} as can be given, and no variable that Spoor would refuse`, async () => {
      for (const version of VERSIONS) await assertConforms(await render(values, version), version);
      const pod = podOf(await render(values));
      assert.equal(pod.enableServiceLinks, false);
      const [tserver, spoor] = pod.containers;
      const names = spoor!.env.map(({ name }) => name);
      assert.equal(new Set(names).size, names.length);
      assert.deepEqual(
        names.filter((name) => name.startsWith('SPOOR_') && !VARIABLES.has(name)),
        [],
      );
      const data = (each: typeof tserver) => each!.volumeMounts.find(({ name }) => name === 'data')?.mountPath;
      assert.equal(data(spoor), data(tserver)); // hard links do not cross mounts
      for (const { name } of spoor!.volumeMounts)
        assert.ok(name === 'data' || pod.volumes.some((volume) => volume.name === name), name);
    });

  it('gives what was asked for', async () => {
    const text = await render(MOST);
    const env = new Map(podOf(text).containers[1]!.env.map(({ name, value }) => [name, value]));
    assert.equal(env.get('SPOOR_KAFKA_SSL'), 'true');
    assert.equal(env.get('SPOOR_NICE'), '5');
    assert.equal(env.get('SPOOR_KUDU_MASTERS'), 'master-0:7051,master-1:7051');
    assert.equal(env.get('SPOOR_KAFKA_SASL_PASSWORD_FILE'), '/run/secrets/spoor/kafka-password');
    assert.equal(env.get('SPOOR_HTTP_TLS_CLIENT_CA_FILE'), '/run/secrets/spoor-tls/ca.crt');
    assert.ok(!documents(text).some(({ kind }) => kind === 'Secret'));
    const rules = documents(text).find(({ kind }) => kind === 'PrometheusRule')!;
    assert.equal(JSON.stringify(rules.spec).match(/"alert":/g)?.length, alertRules().length);
  });

  it('has Prometheus read the metrics by pod or by service, with a token', async () => {
    for (const kind of ['PodMonitor', 'ServiceMonitor']) {
      const made = documents(await render({ ...MOST, monitor: { kind } })).find((each) => each.kind === kind);
      const spec = JSON.stringify(made?.spec);
      assert.match(spec, /"credentials":\{"name":"mine","key":"http-token-read"\}/);
      assert.match(spec, /"scheme":"https"/);
      assert.ok(spec.includes(kind === 'PodMonitor' ? '"podMetricsEndpoints":[' : '"endpoints":['));
    }
  });

  for (const [fault, values] of Object.entries({
    'no masters': { ...LEAST, kudu: { masters: [] } },
    'a variable that the chart knows by itself': { ...LEAST, env: { SPOOR_TSERVER: 'x:7050' } },
    'a value that is none': { ...LEAST, tserverr: {} },
    'a token that no Secret has': { ...LEAST, secrets: { create: { 'http-token': 'a' } } },
  }))
    it(`refuses ${fault}`, async () => {
      const { exitCode, output } = await template(values);
      assert.notEqual(exitCode, 0);
      assert.match(output, /masters|SPOOR_TSERVER|env|tserverr|http-token-read/);
    });

  it('lends its sidecar to a chart that has tablet servers already', async () => {
    await using dir = await WorkDir.create('spoor-test-parent-chart');
    await mkdir(join(dir.path, 'charts'), { recursive: true });
    await mkdir(join(dir.path, 'templates'));
    await cp(CHART, join(dir.path, 'charts/spoor'), { recursive: true });
    await writeFile(join(dir.path, 'Chart.yaml'), 'apiVersion: v2\nname: own\nversion: 1.0.0\n');
    const pod = [
      'apiVersion: apps/v1',
      'kind: StatefulSet',
      'metadata: { name: kudu }',
      'spec:',
      '  serviceName: kudu',
      '  selector: { matchLabels: { a: b } }',
      '  template:',
      '    metadata: { labels: { a: b } }',
      '    spec:',
      '      enableServiceLinks: false',
      '      containers:',
      '        - { name: tserver, image: "kudu:1", env: [], volumeMounts: [{ name: data, mountPath: /var/lib/kudu }] }',
      '        {{- include "spoor.container" .Subcharts.spoor | nindent 8 }}',
      '      volumes:',
      '        {{- include "spoor.volumes" .Subcharts.spoor | nindent 8 }}',
    ];
    await writeFile(join(dir.path, 'templates/kudu.yaml'), `${pod.join('\n')}\n`);
    const spoor = { ...MOST, prometheusRule: {}, fullnameOverride: 'kudu', tserver: { enabled: false } };
    const { exitCode, stdout, output } = await template({ spoor }, NEWEST, dir.path);
    assert.equal(exitCode, 0, output);
    assert.deepEqual(
      documents(stdout).map(({ kind }) => kind),
      ['StatefulSet'],
    );
    await assertConforms(stdout, NEWEST!);
    const env = new Map(podOf(stdout).containers[1]!.env.map(({ name, value }) => [name, value]));
    assert.equal(env.get('SPOOR_TSERVER'), '$(POD_NAME).kudu:7050');
  });
});

describe('the plain manifest', { skip, timeout: 1_200_000 }, () => {
  it('is what Kubernetes takes', async () => {
    for (const version of VERSIONS) await assertConforms(await readFile(PLAIN, 'utf8'), version);
  });
});
