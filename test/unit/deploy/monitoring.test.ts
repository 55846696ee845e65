import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { DASHBOARDS } from '../../../.ci/grafana.mjs';
import { createMetrics } from '../../../src/metrics/metrics.ts';
import { anchorsOf } from '../../support/markdown.ts';
import { alertRules, dashboards, expressionsOf, metricsIn, testedAlerts } from '../../support/monitoring-files.ts';

/** What Prometheus makes of what a sidecar exports, and what it knows by itself. */
async function knownMetrics(): Promise<ReadonlySet<string>> {
  const page = await createMetrics({
    localTablets: () => [],
    holds: () => [],
    sidecar: () => ({ kuduAnswers: true, clockOffsetSeconds: 0, unattendedTservers: [] }),
    about: { version: '1', tserver: 'node-1:7050' },
    freePercent: () => 50,
  }).text();
  const types = [...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  const names = types.flatMap(([, name, type]) =>
    type === 'histogram' ? ['_bucket', '_sum', '_count'].map((ending) => `${name!}${ending}`) : [name!],
  );
  return new Set(['up', ...names]);
}

describe('deploy/prometheus', () => {
  const rules = alertRules();

  it('asks for metrics alone that a sidecar exports', async () => {
    const known = await knownMetrics();
    for (const { alert, expr } of rules) {
      const metrics = metricsIn(expr);
      assert.ok(metrics.length > 0, alert);
      for (const metric of metrics) assert.ok(known.has(metric), `${alert}: ${metric}`);
    }
  });

  it('names with each alert a section of the handbook that is there', () => {
    const anchors = anchorsOf(readFileSync(new URL('../../../docs/operations-by-symptom.md', import.meta.url), 'utf8'));
    for (const { alert, annotations } of rules) {
      const [page, anchor = ''] = annotations.runbook.split('#');
      assert.equal(page, 'docs/operations-by-symptom.md', alert);
      assert.ok(anchors.includes(anchor), `${alert}: ${anchor}`);
    }
  });

  it('says with each alert where it is', () => {
    for (const { alert, annotations } of rules)
      if (alert !== 'SpoorVersionsDiffer') assert.match(annotations.summary, /\{\{ \$labels\.\w+ \}\}/, alert);
  });

  it('has a case in which each alert fires, and one in which it does not', () => {
    const tested = testedAlerts();
    assert.deepEqual([...tested.keys()].sort(), rules.map(({ alert }) => alert).sort());
    for (const [alert, { fires, stays }] of tested) assert.ok(fires > 0 && stays > 0, alert);
  });

  it('is told of by the handbook, each alert in the section that it names', () => {
    const text = readFileSync(new URL('../../../docs/operations-by-symptom.md', import.meta.url), 'utf8');
    for (const { alert, annotations } of rules) {
      const [, anchor] = annotations.runbook.split('#');
      const section = text.split(/^(?=#+ )/m).find((part) => anchorsOf(part)[0] === anchor);
      assert.ok(section?.includes(`\`${alert}\``), `${alert} is not in ${annotations.runbook}`);
    }
  });
});

describe('deploy/grafana', () => {
  const found = dashboards();

  it('is what .ci/grafana.mjs makes: npm run generate:dashboards', () => {
    assert.deepEqual(Object.fromEntries([...found].map(([name, { text }]) => [name, text])), DASHBOARDS);
  });

  for (const [name, { text, parsed }] of found) {
    it(`${name} asks for metrics alone that a sidecar exports`, async () => {
      const known = await knownMetrics();
      const variables = parsed.templating.list.flatMap(({ definition = '' }) => metricsIn(definition));
      const asked = [...expressionsOf(parsed).flatMap(metricsIn), ...variables];
      assert.ok(asked.length > 10);
      for (const metric of asked) assert.ok(known.has(metric), metric);
    });

    it(`${name} has no two panels on the same place`, () => {
      const { panels } = parsed;
      assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
      for (const [index, { title, gridPos: one }] of panels.entries()) {
        assert.ok(one.x + one.w <= 24, title);
        for (const { title: beside, gridPos: two } of panels.slice(index + 1)) {
          const apart =
            one.x + one.w <= two.x || two.x + two.w <= one.x || one.y + one.h <= two.y || two.y + two.h <= one.y;
          assert.ok(apart, `${title} and ${beside}`);
        }
      }
    });

    it(`${name} takes its data source from a variable, and leads to dashboards that are here`, () => {
      assert.deepEqual(new Set(text.match(/"uid": "(?!spoor-)[^"]*"/g)), new Set(['"uid": "${datasource}"']));
      const uids = new Set([...found.values()].map((each) => each.parsed.uid));
      const led = [...text.matchAll(/"\/d\/([\w-]+)/g)].map(([, uid]) => uid!);
      for (const other of uids) if (other !== parsed.uid) assert.ok(led.includes(other), `no link to ${other}`);
      for (const uid of led) assert.ok(uids.has(uid), uid);
    });
  }

  it('has dashboards that differ in uid and title', () => {
    const parsed = [...found.values()].map((each) => each.parsed);
    assert.equal(new Set(parsed.map(({ uid }) => uid)).size, parsed.length);
    assert.equal(new Set(parsed.map(({ title }) => title)).size, parsed.length);
  });
});

describe('deploy/helm', () => {
  it('has the same alert rules, as a chart can only give what is in its own folder', () => {
    const deploy = new URL('../../../deploy/', import.meta.url);
    const [own, original] = ['helm/spoor/files/spoor-alerts.yaml', 'prometheus/spoor-alerts.yaml'].map((name) =>
      readFileSync(new URL(name, deploy), 'utf8'),
    );
    assert.equal(own, original);
  });
});
