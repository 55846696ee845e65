import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { streamInput as readInput, type CreateFlags } from '../../../src/cli/stream-input.ts';
import { CliError } from '../../../src/cli/cli-error.ts';

const dir = mkdtempSync(join(tmpdir(), 'spoor-input-'));
after(() => {
  rmSync(dir, { recursive: true });
});
const noStdin = (): string => assert.fail('standard input is not asked for');
const streamInput = (file: string | undefined, flags: CreateFlags, readStdin = noStdin): unknown =>
  readInput(file, flags, readStdin);
/** As commander hands them over when no flag was given. */
const NO_FLAGS = { createTopics: true, tombstones: true };
const fails = (exitCode: 1 | 2, text: RegExp) => (error: unknown) =>
  error instanceof CliError && error.exitCode === exitCode && text.test(error.message);

describe('streamInput', () => {
  it('reads a file or standard input', () => {
    const file = join(dir, 'a.json');
    writeFileSync(file, '{"name":"orders"}');
    assert.deepEqual(streamInput(file, NO_FLAGS), { name: 'orders' });
    assert.deepEqual(
      streamInput('-', NO_FLAGS, () => '{"name":"piped"}'),
      { name: 'piped' },
    );
  });

  it("makes the least that flags can say, so that defaults are the API's", () => {
    assert.deepEqual(streamInput(undefined, { ...NO_FLAGS, name: 'a', table: ['x', 'y*'], topic: 't' }), {
      name: 'a',
      tables: ['x', 'y*'],
      sink: { type: 'kafka', topic: 't' },
    });
  });

  it('makes all that flags can say', () => {
    const flags = {
      name: 'a',
      table: ['x'],
      topic: 't',
      start: 'now',
      delivery: 'at-least-once',
      partitions: '3',
      replicationFactor: '-1',
      createTopics: false,
      topicConfig: ['retention.ms=5', 'a.b=c=d'],
      compression: 'lz4',
      schemaTopic: 's',
      format: 'json',
      images: 'changed',
      tombstones: false,
      resolvedIntervalMs: '5000',
      copyRowsPerSecond: '100',
    };
    assert.deepEqual(streamInput(undefined, flags), {
      name: 'a',
      tables: ['x'],
      start: 'now',
      sink: {
        type: 'kafka',
        topic: 't',
        delivery: 'at-least-once',
        partitions: 3,
        replicationFactor: -1,
        createTopics: false,
        topicConfig: { 'retention.ms': '5', 'a.b': 'c=d' },
        compression: 'lz4',
        schemaTopic: 's',
      },
      format: { type: 'json' },
      images: 'changed',
      tombstones: false,
      resolved: { intervalMs: 5000 },
      copyRowsPerSecond: 100,
    });
  });

  it('takes options of a format, and leaves it to the API which there are', () => {
    const formatOf = (format: string | undefined, formatOption: string[]): unknown => {
      const flags = { ...NO_FLAGS, name: 'a', table: ['x'], topic: 't', formatOption };
      const body = streamInput(undefined, format === undefined ? flags : { ...flags, format });
      return (body as { format: unknown }).format;
    };
    const urls = ['registry=http://one:8081', 'registry=http://two:8081/a=b'];
    assert.deepEqual(formatOf('avro', [...urls, 'autoRegister=false', 'decimals=string']), {
      type: 'avro',
      registry: ['http://one:8081', 'http://two:8081/a=b'],
      autoRegister: false,
      decimals: 'string',
    });
    assert.deepEqual(formatOf('avro', ['registry=x', 'no=such']), { type: 'avro', registry: 'x', no: 'such' });
    assert.throws(
      () => formatOf('avro', ['registry']),
      fails(2, /--format-option is given as <name>=<value>, not "reg/),
    );
    assert.throws(() => formatOf('avro', ['type=json']), fails(2, /the type is given as --format/));
    assert.throws(() => formatOf(undefined, ['registry=x']), fails(2, /--format-option goes with --format/));
    assert.throws(() => streamInput('a.json', { ...NO_FLAGS, formatOption: ['a=b'] }), fails(2, /not both/));
  });

  it('leaves it to the API to refuse a number that is none', () => {
    const body = streamInput(undefined, { name: 'a', table: ['x'], topic: 't', partitions: '1.5' });
    assert.deepEqual(body, { name: 'a', tables: ['x'], sink: { type: 'kafka', topic: 't', partitions: '1.5' } });
  });

  it('is used wrongly with neither, or with both', () => {
    assert.throws(() => streamInput(undefined, { ...NO_FLAGS, name: 'a' }), fails(2, /missing: --table, --topic/));
    assert.throws(() => streamInput('a.json', { ...NO_FLAGS, name: 'a' }), fails(2, /not both/));
    assert.throws(() => streamInput('a.json', { ...NO_FLAGS, tombstones: false }), fails(2, /not both/));
  });

  it('fails with the reason where the file is missing or is no JSON', () => {
    assert.throws(() => streamInput(join(dir, 'nope'), NO_FLAGS), fails(1, /cannot read .*nope: ENOENT/));
    assert.throws(() => streamInput('-', NO_FLAGS, () => '{'), fails(1, /standard input is not JSON: /));
  });
});
