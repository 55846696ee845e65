import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Command } from 'commander';
import { addSinkFlags } from '../../../src/cli/sink-flags.ts';
import { streamInput as readInput, type CreateFlags } from '../../../src/cli/stream-input.ts';
import { CliError } from '../../../src/cli/cli-error.ts';
import { fileSink } from '../../../src/sinks/file/definition.ts';
import { kafkaSink } from '../../../src/sinks/kafka/definition.ts';
import { redisSink } from '../../../src/sinks/redis/definition.ts';

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

  it('makes all that flags can say of Redis and of files', () => {
    const general = { ...NO_FLAGS, name: 'a', table: ['x'] };
    const sinkFrom = (flags: CreateFlags): unknown =>
      (streamInput(undefined, { ...general, ...flags }) as { sink: unknown }).sink;
    assert.deepEqual(sinkFrom({ sink: 'redis', key: 'cdc.{table}' }), { type: 'redis', key: 'cdc.{table}' });
    const redis = {
      ...{ sink: 'redis', key: 'k', layout: 'compact', shards: '4', maxLen: '1000', minIdAgeMs: '60000' },
      ...{ waitReplicas: '1', waitTimeoutMs: '500', durability: 'memory', schemaKey: 's' },
    };
    assert.deepEqual(sinkFrom(redis), {
      ...{ type: 'redis', key: 'k', layout: 'compact', shards: 4, maxLen: 1000, minIdAgeMs: 60_000 },
      ...{ wait: { replicas: 1, timeoutMs: 500 }, durability: 'memory', schemaKey: 's' },
    });
    const file = { sink: 'file', dir: '/data/cdc', rotateBytes: '4096', rotateSeconds: '5' };
    assert.deepEqual(sinkFrom(file), { type: 'file', dir: '/data/cdc', rotateBytes: 4096, rotateSeconds: 5 });
    assert.deepEqual(sinkFrom({ sink: 'kafka', topic: 't' }), { type: 'kafka', topic: 't' });
  });

  it('has a flag for every option of a sink but those that are maps', () => {
    const command = addSinkFlags(new Command());
    const names = command.options.map((option) => option.attributeName());
    const wanted = [kafkaSink, redisSink, fileSink].flatMap(({ shape }) => Object.keys(shape));
    assert.deepEqual(
      wanted.filter((name) => name !== 'type' && !names.includes(name)),
      ['topics', 'wait'], // of `wait` there is a flag for each part
    );
    assert.ok(names.includes('waitReplicas') && names.includes('waitTimeoutMs'));
  });

  it("refuses another sink's flags, and says whose they are and what is allowed", () => {
    const general = { ...NO_FLAGS, name: 'a', table: ['x'] };
    const refuses = (flags: CreateFlags, text: RegExp): void => {
      assert.throws(() => streamInput(undefined, { ...general, ...flags }), fails(2, text));
    };
    refuses(
      { key: 'k' },
      /^--key: got "k" with --sink kafka \(the default\), and it goes with --sink redis; allowed: --topic, --del/,
    );
    refuses(
      { sink: 'redis', topic: 't', createTopics: false, dir: '/d' },
      /^--topic: got "t" with --sink redis, .* --sink kafka; allowed: --key, .*\n--no-create-topics: got with .*\n--dir: got "\/d" .* --sink file; /,
    );
    refuses({ sink: 'file' }, /missing: --dir$/);
    refuses({ sink: 'redis' }, /missing: --key$/);
    assert.throws(() => streamInput('a.json', { ...NO_FLAGS, sink: 'redis' }), fails(2, /not both/));
    assert.throws(() => streamInput('a.json', { ...NO_FLAGS, shards: '2' }), fails(2, /not both/));
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
