import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { brokenSink, BUGS, type Bug } from './broken-sink.ts';
import { assertWithin } from './sink-checks.ts';
import { runCase } from './sink-kit.ts';
import { describeSink, SINK_CASES } from './sink.ts';

const PROMISES = { exactlyOnce: true, quickOutage: true } as const;
/** A case that waits for what never comes has found something as well. */
const CASE_WITHIN_MS = 5_000;

describeSink('the sink that can be broken, and is not,', () => brokenSink(null), PROMISES);

describe('the contract of a sink', () => {
  for (const [bug, name] of Object.entries(BUGS) as [Bug, string][])
    it(`finds a sink that ${bug}`, async () => {
      const one = SINK_CASES.find((known) => known.name === name);
      assert.ok(one, `no case is called ${name}`);
      const run = assertWithin(CASE_WITHIN_MS, 'the case ends', runCase(one, brokenSink(bug), PROMISES));
      await assert.rejects(run, `the case "${name}" passes`);
    });
});
