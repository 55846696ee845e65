import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { runCommand } from '../../src/demo/run-command.ts';
import { programMissing, promtool } from '../support/debian-package.ts';
import { dashboards, expressionsOf, PROMETHEUS_DIR, ruleTestFiles } from '../support/monitoring-files.ts';

const skip = await programMissing(promtool());

describe('what Prometheus says', { skip }, () => {
  const run = async (args: readonly string[], cwd: string): Promise<void> => {
    const { exitCode, output } = await runCommand(await promtool(), args, { cwd });
    assert.equal(exitCode, 0, output);
  };

  it('of the alert rules: they are rules, and each fires and does not where its tests say so', async () => {
    const dir = fileURLToPath(PROMETHEUS_DIR);
    await run(['check', 'rules', 'spoor-alerts.yaml'], dir);
    await run(['test', 'rules', ...ruleTestFiles()], dir);
  });

  it('of what the dashboards ask: that it is PromQL', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'spoor-dashboards-'));
    try {
      const exprs = [...dashboards().values()].flatMap(({ parsed }) => expressionsOf(parsed));
      const rules = exprs.map((expr, index) => ({ record: `panel:${index}`, expr }));
      await writeFile(join(dir, 'rules.yaml'), stringify({ groups: [{ name: 'panels', rules }] }));
      await run(['check', 'rules', 'rules.yaml'], dir);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
