import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod';

const DEPLOY = new URL('../../deploy/', import.meta.url);

const rule = z.strictObject({
  alert: z.string(),
  expr: z.string(),
  for: z.string().optional(),
  labels: z.strictObject({ severity: z.enum(['critical', 'warning', 'info']) }),
  annotations: z.strictObject({ summary: z.string(), runbook: z.string() }),
});
const rulesFile = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), rules: z.array(rule) })),
});
export type AlertRule = z.output<typeof rule>;

const ruleTests = z.looseObject({
  tests: z.array(
    z.looseObject({
      alert_rule_test: z.array(z.looseObject({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })),
    }),
  ),
});

const target = z.looseObject({ refId: z.string(), expr: z.string() });
const panel = z.looseObject({
  id: z.number(),
  title: z.string(),
  type: z.string(),
  gridPos: z.strictObject({ h: z.number(), w: z.number(), x: z.number(), y: z.number() }),
  targets: z.array(target).optional(),
});
const dashboard = z.looseObject({
  id: z.undefined().optional(),
  uid: z.string(),
  title: z.string(),
  schemaVersion: z.number(),
  panels: z.array(panel),
  templating: z.looseObject({
    list: z.array(z.looseObject({ name: z.string(), type: z.string(), definition: z.string().optional() })),
  }),
});
export type Dashboard = z.output<typeof dashboard>;

export const PROMETHEUS_DIR = new URL('prometheus/', DEPLOY);
const GRAFANA_DIR = new URL('grafana/', DEPLOY);

export function alertRules(): readonly AlertRule[] {
  const text = readFileSync(new URL('spoor-alerts.yaml', PROMETHEUS_DIR), 'utf8');
  return rulesFile.parse(parse(text)).groups.flatMap(({ rules }) => rules);
}

/** promtool's unit tests. */
export function ruleTestFiles(): readonly string[] {
  return readdirSync(PROMETHEUS_DIR).filter((name) => name.endsWith('.test.yaml'));
}

/** Of each alert that is tested, in how many cases it fires, and in how many not. */
export function testedAlerts(): ReadonlyMap<string, { fires: number; stays: number }> {
  const counts = new Map<string, { fires: number; stays: number }>();
  for (const file of ruleTestFiles()) {
    const { tests } = ruleTests.parse(parse(readFileSync(new URL(file, PROMETHEUS_DIR), 'utf8')));
    for (const { alertname, exp_alerts: expected } of tests.flatMap((each) => each.alert_rule_test)) {
      const count = counts.get(alertname) ?? { fires: 0, stays: 0 };
      if (expected.length > 0) count.fires++;
      else count.stays++;
      counts.set(alertname, count);
    }
  }
  return counts;
}

/** By the name of its file. */
export function dashboards(): ReadonlyMap<string, { readonly text: string; readonly parsed: Dashboard }> {
  const files = readdirSync(GRAFANA_DIR).filter((name) => name.endsWith('.json'));
  return new Map(
    files.map((name) => {
      const text = readFileSync(new URL(name, GRAFANA_DIR), 'utf8');
      return [basename(name), { text, parsed: dashboard.parse(JSON.parse(text)) }];
    }),
  );
}

/** What a dashboard asks Prometheus, its variables replaced as Grafana would. */
export function expressionsOf({ panels }: Dashboard): readonly string[] {
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr.replaceAll(/\$\w+/g, 'x')));
}

/** Names of metrics in PromQL: what it says of labels, and its own words, are none. */
export function metricsIn(expr: string): readonly string[] {
  return expr.replaceAll(/\{[^}]*\}/g, '').match(/\b(?:(?:spoor|process|nodejs)_\w+|up\b)/g) ?? [];
}
