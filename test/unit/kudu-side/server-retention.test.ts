import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ServerRetention, type FlagServer } from '../../../src/kudu-side/server-retention.ts';
import { KuduError, flagError } from '../../../src/kudu/errors.ts';
import type { ServerFlag } from '../../../src/kudu/tserver-proxy.ts';
import { RpcErrorCode, SetFlagCode } from '../../../src/kudu/status.ts';
import { keepingLogger, type LogLine } from '../../support/loggers.ts';

const SUPERUSERS_ONLY = new KuduError('rpc', 'unauthorized', { code: RpcErrorCode.ERROR_APPLICATION });
const AWAY = new KuduError('network', 'connection refused');

/** A server with one flag. What `faults` hold is thrown, one a call: before it is carried out, or `after` it. */
class ScriptedServer implements FlagServer {
  readonly address = 'node-1:7050';
  value = '1';
  /** Every value that was set, in order. */
  readonly sets: number[] = [];
  getFaults: Error[] = [];
  setFaults: { readonly error: Error; readonly after?: boolean }[] = [];
  calls = 0;

  async getFlags(names: readonly string[]): Promise<readonly ServerFlag[]> {
    this.calls++;
    assert.deepEqual(names, ['log_min_segments_to_retain']);
    const fault = this.getFaults.shift();
    if (fault) throw fault;
    return Promise.resolve([{ name: names[0]!, value: this.value, isDefault: this.value === '1' }]);
  }

  async setFlag({ value }: { readonly name: string; readonly value: string }): Promise<string> {
    this.calls++;
    const fault = this.setFaults.shift();
    const old = this.value;
    if (!fault || fault.after) {
      this.value = value;
      this.sets.push(Number(value));
    }
    if (fault) throw fault.error;
    return Promise.resolve(old);
  }

  restart(value = '1'): void {
    this.value = value;
  }
}

describe('server retention', () => {
  const { signal } = new AbortController();
  let dir: string;
  let stateFile: string;
  let server: ScriptedServer;
  let needed: number;
  let lines: LogLine[];
  let retention: ServerRetention;

  /** Spoor's beginning, or its next one. */
  function begin(enabled = true): void {
    lines = [];
    const options = { tserver: server, neededSegments: () => needed, stateFile, enabled };
    retention = new ServerRetention({ ...options, logger: keepingLogger(lines) });
  }
  async function round(segments = needed): Promise<number | null> {
    needed = segments;
    return retention.round(signal);
  }
  const told = (level: LogLine['level']): string[] =>
    lines.filter((line) => line.level === level).map(({ message }) => message);

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'spoor-retention-'));
    stateFile = join(dir, 'server-retention.json');
    server = new ScriptedServer();
    needed = 1;
    begin();
  });
  afterEach(() => {
    rmSync(dir, { recursive: true });
  });

  it('follows the laggard up and down, never below what it found, and only sets what changes', async () => {
    server.value = '3';
    for (const segments of [1, 2, 4, 4, 9, 9, 5, 1, 1]) assert.ok((await round(segments))! > 0);
    assert.deepEqual(server.sets, [4, 9, 5, 3]);
    assert.deepEqual([told('warn'), told('info')], [[], ['server retention changed', 'server retention changed']]);
  });

  it('raises it no further than to a bound, and says so once until that is over', async () => {
    for (const segments of [79, 80, 81, 5000, 5001, 80, 90]) await round(segments);
    assert.deepEqual(server.sets, [79, 80]);
    assert.deepEqual(
      told('warn').map((message) => message.slice(0, 20)),
      ['a tablet is further ', 'a tablet is further '],
    );
    server.value = '200'; // the operator's own has no bound
    await round(5000);
    assert.deepEqual([server.value, server.sets], ['200', [79, 80]]);
  });

  it('writes nothing as long as there is nothing to raise', async () => {
    await round();
    assert.deepEqual([server.sets, existsSync(stateFile)], [[], false]);
  });

  it('raises again after the server was restarted, and takes what that one began with for its own', async () => {
    await round(8);
    server.restart();
    await round(8);
    assert.deepEqual(server.sets, [8, 8]);
    server.restart('5');
    await round(8);
    await round(1);
    assert.equal(server.value, '5');
  });

  it('takes what an operator sets meanwhile for the value to go back to', async () => {
    await round(8);
    server.value = '6';
    await round(8);
    await round(1);
    assert.equal(server.value, '6');
  });

  it('leaves the raised value at its end, and the next process knows the one before', async () => {
    await round(8);
    begin();
    await round(8);
    assert.equal(server.value, '8');
    await round(1);
    assert.equal(server.value, '1');
  });

  for (const [what, after] of [
    ['before the server did', false],
    ['after the server did', true],
  ] as const)
    it(`knows what was the operator's when Spoor dies while it sets: ${what}`, async () => {
      await round(4);
      for (const next of [9, 5]) {
        server.setFaults = [{ error: AWAY, after }];
        await round(next);
        begin();
        await round(next);
        assert.equal(server.value, String(next));
      }
      server.setFaults = [{ error: AWAY, after }];
      await round(1);
      begin();
      await round(1);
      assert.equal(server.value, '1');
    });

  it('raises nothing that it cannot remember', async () => {
    stateFile = join(dir, 'missing', 'state.json');
    begin();
    for (let i = 0; i < 2; i++) assert.ok((await round(5))! > 0);
    assert.deepEqual([server.sets, told('warn')], [[], ['server retention cannot be set']]);
  });

  for (const content of ['', '{"original":0}', 'null'])
    it(`begins anew from a state file that holds ${JSON.stringify(content)}`, async () => {
      writeFileSync(stateFile, content);
      await round(5);
      assert.deepEqual(JSON.parse(readFileSync(stateFile, 'utf8')), { original: 1, ours: [5] });
    });

  it('goes on after a refusal or an absence, and tells each once', async () => {
    server.getFaults = [AWAY, AWAY, SUPERUSERS_ONLY, SUPERUSERS_ONLY];
    const again: (number | null)[] = [];
    for (let i = 0; i < 4; i++) again.push(await round(5));
    assert.deepEqual(told('debug'), ['server retention cannot be seen'], 'others tell of a server that is away');
    assert.deepEqual(told('warn'), ['server retention cannot be set']);
    assert.equal(again[3]! > again[0]!, true, 'a server writes a line for each refusal');
    const refusal = { error: flagError('node-1:7050', 'f', SetFlagCode.BAD_VALUE, 'bad value') };
    server.setFaults = [refusal, refusal];
    for (let i = 0; i < 3; i++) await round(5);
    assert.deepEqual([server.sets, told('warn').length], [[5], 2]);
  });

  it('says of a flag that is not there, or is no number', async () => {
    server.value = 'many';
    for (let i = 0; i < 2; i++) await round(5);
    assert.deepEqual(told('warn'), ['server retention cannot be set']);
  });

  describe('not enabled', () => {
    beforeEach(() => {
      begin(false);
    });

    it('says once what to set where the value leaves no room, and is done', async () => {
      assert.equal(await round(50), null);
      assert.deepEqual([server.sets, existsSync(stateFile)], [[], false]);
      const [line, ...others] = lines;
      assert.deepEqual(others, []);
      assert.equal(line!.level, 'warn');
      assert.match(line!.message, /log_min_segments_to_retain/);
      assert.deepEqual(line!.fields, {
        value: 1,
        now: 'kudu tserver set_flag node-1:7050 log_min_segments_to_retain 10',
        forGood: '--log_min_segments_to_retain=10',
      });
    });

    it('says nothing where there is room', async () => {
      server.value = '10';
      await retention.run(signal);
      assert.deepEqual(lines, []);
    });

    it('says once that it may not ask, and is done', async () => {
      server.getFaults = [SUPERUSERS_ONLY];
      await retention.run(signal);
      assert.deepEqual(
        lines.map(({ level, message }) => `${level} ${message}`),
        ['info server retention not looked at, that takes a superuser'],
      );
      assert.equal(server.calls, 1);
    });

    it('asks again when the server did not answer', async () => {
      server.getFaults = [AWAY];
      assert.ok((await round())! > 0);
      assert.equal(await round(), null);
      assert.equal(told('warn').length, 1);
    });

    it('takes back what was raised while it was enabled', async () => {
      begin();
      await round(20);
      begin(false);
      assert.equal(await round(20), null);
      assert.deepEqual([server.value, existsSync(stateFile)], ['1', false]);
      assert.equal(told('warn').length, 1, 'and there is no room again');
    });

    it('does not touch a value that is not its own', async () => {
      begin();
      await round(20);
      server.restart('15');
      begin(false);
      await round(20);
      assert.deepEqual([server.value, existsSync(stateFile)], ['15', false]);
    });
  });

  it('ends with its signal, whatever is under way', async () => {
    const stop = new AbortController();
    server.getFlags = async () => {
      stop.abort();
      return Promise.reject(AWAY);
    };
    await retention.run(stop.signal);
    assert.deepEqual(lines, []);
  });
});
