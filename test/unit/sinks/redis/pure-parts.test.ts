import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ReplyError } from 'ioredis';
import { redisSink } from '../../../../src/sinks/redis/definition.ts';
import {
  compareEntryIds,
  formatEntryId,
  idOfOrder,
  orderOf,
  parseEntryId,
  showPlace,
} from '../../../../src/sinks/redis/entry-id.ts';
import { slotOf } from '../../../../src/sinks/redis/key-slot.ts';
import { compileKeyTemplate, planKeys, positionsKey, shardKeys } from '../../../../src/sinks/redis/keys.ts';
import { decodeLaneState, encodeLaneState } from '../../../../src/sinks/redis/lane-state.ts';
import { errorWord, toSinkError, wantsReconnect } from '../../../../src/sinks/redis/redis-error.ts';
import { RedisType } from '../../../../src/sinks/redis/redis-type.ts';
import { SavedTrail } from '../../../../src/sinks/redis/saved-trail.ts';
import { durabilityOf, parseInfo, troubleOf, type ServerFacts } from '../../../../src/sinks/redis/server-info.ts';
import { trimBefore } from '../../../../src/sinks/redis/trimming.ts';
import { positionAt } from '../../../contract/sink.ts';
import { keepingLogger } from '../../../support/loggers.ts';

/** As ioredis has what Redis answers. */
const reply = (message: string): Error => new (ReplyError as new (message: string) => Error)(message);

describe('an id of an entry', () => {
  const ms = fc.bigInt(1_577_836_800_000n, 1_577_836_800_000n + (1n << 41n) - 1n);
  const id = fc.record({ ms, seq: fc.bigInt(0n, (1n << 23n) - 1n) });

  it('is an order of 64 bits, and comes back from it', () => {
    fc.assert(
      fc.property(id, id, (a, b) => {
        assert.deepEqual(idOfOrder(orderOf(a)), { ...a });
        assert.ok(orderOf(a) < 1n << 64n);
        assert.equal(Math.sign(Number(orderOf(a) - orderOf(b))), compareEntryIds(a, b));
        assert.deepEqual(parseEntryId(formatEntryId(a)), { ...a });
      }),
    );
  });

  it('is refused where no clock has made it', () => {
    for (const text of ['1-1', '99999999999999-0', '1764500000000-9000000'])
      assert.throws(() => orderOf(parseEntryId(text)), RangeError, text);
    assert.throws(() => parseEntryId('now'), RangeError);
  });

  it('is shown as Redis has it', () => {
    const place = { lane: 'cdc.shop.orders', order: orderOf(parseEntryId('1764500000000-3')) };
    assert.deepEqual(showPlace(place), {
      text: 'cdc.shop.orders 1764500000000-3',
      fields: { key: 'cdc.shop.orders', id: '1764500000000-3' },
    });
  });
});

describe('the slot of a key', () => {
  it('is what Redis says (CLUSTER KEYSLOT)', () => {
    const SLOTS = {
      '123456789': 12739,
      foo: 12182,
      '{user1000}.following': 3443,
      'foo{}{bar}': 8363,
      'foo{{bar}}zap': 4015,
    };
    for (const [key, slot] of Object.entries(SLOTS)) assert.equal(slotOf(key), slot, key);
  });

  it('is that of its positions, whatever the key', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => {
        const key = text.replace(/[{}]/g, '_');
        assert.equal(slotOf(positionsKey(key)), slotOf(key));
      }),
    );
  });
});

describe('the keys of a stream', () => {
  it('take the names of tables as they are', () => {
    assert.equal(
      compileKeyTemplate('cdc.{database}.{table}/{stream}', 's')('impala::a.b'),
      'cdc.impala::a.impala::a.b/s',
    );
    assert.throws(() => compileKeyTemplate('{table}', 's')('a{b}'), /no "\{"/);
    assert.throws(() => compileKeyTemplate('{table}', 's')('spoor:x'), /positions/);
    assert.deepEqual(shardKeys('k', 1), ['k']);
    assert.deepEqual(shardKeys('k', 2), ['k.0', 'k.1']);
  });

  it('say what comes in the way of a stream', () => {
    const plan = (key: string, shards: number, tables: string[]) =>
      planKeys({ key, shards, schemaKey: 'spoor.schema-changes', streamName: 's' }, tables);
    assert.deepEqual(plan('cdc.{table}', 1, ['a', 'b']).warnings, []);
    assert.match(plan('cdc.{table}', 2, ['a', 'a.1']).warnings.join(), /^$/);
    assert.match(plan('cdc.{table}', 1, ['a', 'a.dead-letter']).warnings.join(), /dead letters of table "a".* share/);
    assert.match(plan('{table}', 1, ['spoor.schema-changes']).warnings.join(), /the schema changes .* share/);
    assert.deepEqual(plan('all', 1, ['a', 'b']).warnings, [], 'they are meant to be together');
    assert.match(plan('{table}', 1, ['a{b']).faults.join(), /!a\{b/);
  });

  it('say where a failover would lose what nobody else has', () => {
    const warnings = (kind: 'single' | 'sentinel' | 'cluster', replicas: number): string => {
      const servers = { kind, hosts: [{ host: 'a', port: 1 }], masterName: 'm', db: 0, isTls: false };
      const type = new RedisType({ servers, access: { credentials: () => ({}) } }, keepingLogger());
      return type.plan(redisSink.parse({ type: 'redis', key: 'all', wait: { replicas } }), 's', ['a']).warnings.join();
    };
    assert.match(warnings('sentinel', 0), /sink\.wait\.replicas is 0, and sentinels watch/);
    assert.deepEqual([warnings('sentinel', 1), warnings('single', 0), warnings('cluster', 0)], ['', '', '']);
  });

  it('are refused with the reason in a definition', () => {
    const fault = (sink: object): string =>
      redisSink.safeParse({ type: 'redis', ...sink }).error?.issues[0]?.message ?? '';
    assert.match(fault({ key: '{tables}' }), /unknown placeholder \{tables\}/);
    assert.match(fault({ key: '{table' }), /brace/);
    assert.match(fault({ key: '' }), /empty/);
    assert.match(fault({ key: 'spoor:x' }), /positions/);
    assert.match(fault({ key: 'x', schemaKey: '{a}' }), /no "\{"/);
    assert.notEqual(fault({ key: 'x', shards: 65 }), '');
    assert.notEqual(fault({ key: 'x', wait: { replica: 1 } }), '');
    assert.deepEqual(redisSink.parse({ type: 'redis', key: 'cdc.{table}' }), {
      type: 'redis',
      key: 'cdc.{table}',
      layout: 'extended',
      shards: 1,
      maxLen: null,
      minIdAgeMs: null,
      wait: { replicas: 0, timeoutMs: 1000 },
      durability: 'durable',
      schemaKey: 'spoor.schema-changes',
    });
  });
});

describe('the state of a lane', () => {
  it('is JSON that comes back', () => {
    const partial = { copied: { at: 'base.7', count: 3 }, row: { index: 9n, row: 4 } };
    for (const state of [
      { generation: 'g', position: positionAt(5), partial },
      { generation: 'g', position: null, partial: null },
    ])
      assert.deepEqual(decodeLaneState(encodeLaneState(state), 'g'), state);
    assert.equal(decodeLaneState('', 'g'), null);
    assert.equal(decodeLaneState(encodeLaneState({ generation: 'old', position: null, partial: null }), 'g'), null);
    for (const text of ['{}', 'x', '{"spoor":2,"generation":"g","position":null}'])
      assert.throws(() => decodeLaneState(text, 'g'), RangeError, text);
  });
});

describe('an error of Redis', () => {
  const KINDS = {
    refused: [
      'OOM command',
      'MISCONF Redis',
      'NOREPLICAS Not',
      'NOAUTH Auth',
      'WRONGPASS in',
      'NOPERM x',
      'WRONGTYPE x',
      "ERR The user executing the script can't run this command or subcommand script: x",
    ],
    unavailable: [
      'READONLY You',
      'MASTERDOWN Link',
      'LOADING Redis',
      'CLUSTERDOWN The',
      'MOVED 1 a:1',
      'ASK 1 a:1',
      'TRYAGAIN M',
      'BUSY Redis',
      'NOSCRIPT No',
      'ERR whatever',
      'Connection is closed.',
      'Command timed out',
    ],
  } as const;
  for (const [kind, messages] of Object.entries(KINDS))
    it(`is ${kind} by its first word`, () => {
      for (const message of messages) {
        const error = toSinkError(new Error(message), 'r:1');
        assert.equal(error.kind, kind, message);
        assert.match(error.message, /^Redis at r:1: /);
      }
    });

  it('says whether another server may do', () => {
    assert.deepEqual(
      ['READONLY x', 'MOVED 1 x', 'OOM x', 'BUSY x'].map((message) => wantsReconnect(reply(message))),
      [true, true, false, false],
    );
    assert.ok(wantsReconnect(new Error('Connection is closed.')), 'what was on it may be there or not');
    assert.equal(errorWord(new Error('Connection is closed.')), null);
    assert.equal(errorWord(new Error('constructor x')), null);
  });
});

const INFO = [
  '# Server',
  'redis_version:7.0.15',
  'run_id:abc',
  'loading:0',
  'role:master',
  'connected_slaves:1',
  'aof_enabled:1',
  'aof_last_write_status:ok',
  'aof_pending_bio_fsync:0',
  'maxmemory:1000',
  'used_memory:900',
  'mem_not_counted_for_evict:100',
  'maxmemory_policy:noeviction',
  '',
].join('\r\n');

describe('what a server says of itself', () => {
  const facts = parseInfo(INFO, 'everysec');
  const demands = { durability: 'durable', replicas: 0 } as const;
  const trouble = (changes: Partial<ServerFacts>, of: Parameters<typeof troubleOf>[1] = demands, sent = 0): string => {
    const found = troubleOf({ ...facts, ...changes }, of, sent);
    return found === null ? '' : `${found.kind}: ${found.message}`;
  };

  it('is read from INFO', () => {
    assert.deepEqual(facts, {
      version: [7, 0],
      runId: 'abc',
      isReplica: false,
      isLoading: false,
      replicas: 1,
      hasAof: true,
      isAofSound: true,
      pendingFsyncs: 0,
      appendfsync: 'everysec',
      maxMemory: 1000,
      usedMemory: 800,
      evictionPolicy: 'noeviction',
    });
  });

  it('may keep it from being written to', () => {
    assert.equal(trouble({}), '');
    assert.match(trouble({ usedMemory: 960 }), /^refused: .*raise maxmemory/);
    assert.match(trouble({}, demands, 151), /^refused: .*maxmemory/, 'what was sent counts');
    assert.equal(trouble({ usedMemory: 960, maxMemory: 0 }), '');
    assert.match(trouble({ evictionPolicy: 'allkeys-lru' }), /^refused: .*noeviction/);
    assert.equal(trouble({ evictionPolicy: 'volatile-lru' }), '');
    assert.match(trouble({ hasAof: false }), /^refused: it keeps nothing.*"durability":"memory"/);
    assert.equal(trouble({ hasAof: false }, { durability: 'memory', replicas: 0 }), '');
    assert.equal(trouble({ hasAof: false }, { durability: 'durable', replicas: 1 }), '');
    assert.match(trouble({ appendfsync: 'no' }), /^refused: its appendfsync is no/);
    assert.match(trouble({}, { durability: 'durable', replicas: 2 }), /^unavailable: it has 1 replicas/);
    assert.match(trouble({ isReplica: true }), /^unavailable: .*replica/);
    assert.match(trouble({ isLoading: true }), /^unavailable: .*loading/);
    assert.match(trouble({ version: [6, 2] }), /^refused: it is version 6\.2/);
  });

  it('says when records outlive it', () => {
    const durability = (changes: Partial<ServerFacts>, replicas = 0, of: 'durable' | 'memory' = 'durable'): string =>
      durabilityOf({ ...facts, ...changes }, { durability: of, replicas });
    assert.equal(durability({}), 'fsync-each-second');
    assert.equal(durability({ version: [7, 2] }), 'fsync-asked');
    assert.equal(durability({ version: [8, 0] }), 'fsync-asked');
    assert.equal(durability({ appendfsync: 'always' }), 'at-once');
    assert.equal(durability({ appendfsync: 'always' }, 1), 'replicas');
    assert.equal(durability({ appendfsync: null }), 'fsync-each-second');
    assert.equal(durability({ hasAof: false }, 1), 'replicas');
    assert.equal(durability({ hasAof: false }, 0, 'memory'), 'at-once');
  });
});

describe('trimming', () => {
  const at = (ms: number, seq = 0) => ({ ms: BigInt(ms), seq: BigInt(seq) });
  const look = { nowMs: 10_000n, length: 100, firstToKeep: at(5_000), groups: [] };

  it('goes up to what is asked for', () => {
    assert.deepEqual(trimBefore(look, null), at(5_000));
    assert.deepEqual(trimBefore(look, 4_000), at(6_000), 'either reason is enough');
    assert.deepEqual(trimBefore({ ...look, firstToKeep: null }, 4_000), at(6_000));
    assert.equal(trimBefore({ ...look, firstToKeep: null }, null), null);
    assert.equal(trimBefore({ ...look, firstToKeep: null }, 20_000), null);
  });

  it('goes never past what a group has not read, or not acknowledged', () => {
    const groups = (...each: { delivered: ReturnType<typeof at>; pending: ReturnType<typeof at> | null }[]) =>
      trimBefore({ ...look, groups: each }, null);
    assert.deepEqual(groups({ delivered: at(4_000, 2), pending: null }), at(4_000, 3));
    assert.deepEqual(groups({ delivered: at(9_000), pending: at(3_000, 1) }), at(3_000, 1));
    assert.deepEqual(groups({ delivered: at(9_000), pending: null }), at(5_000));
    assert.deepEqual(
      groups({ delivered: at(9_000), pending: null }, { delivered: at(2_000), pending: at(1_000) }),
      at(1_000),
    );
    assert.equal(groups({ delivered: at(0), pending: null }), null, 'it has read nothing');
  });
});

describe('positions that are saved', () => {
  it('are told in order, once their servers have confirmed what came up to them', () => {
    const [one, other] = [{ confirmed: 0 }, { confirmed: 0 }];
    const trail = new SavedTrail();
    trail.written(positionAt(1), [{ of: one, count: 1 }]);
    trail.written(positionAt(2), [
      { of: one, count: 2 },
      { of: other, count: 1 },
    ]);
    assert.equal(trail.look(), false);
    one.confirmed = 2;
    assert.equal(trail.look(), true);
    assert.deepEqual(trail.saved, positionAt(1));
    assert.equal(trail.look(), false);
    other.confirmed = 1;
    assert.equal(trail.look(), true);
    assert.deepEqual(trail.saved, positionAt(2));
  });

  it('are thinned out where nothing is confirmed, the last one never', () => {
    const trail = new SavedTrail();
    const server = { confirmed: 0 };
    for (let i = 1; i <= 1_000; i++) trail.written(positionAt(i), [{ of: server, count: i }]);
    server.confirmed = 1_000;
    trail.look();
    assert.deepEqual(trail.saved, positionAt(1_000));
  });
});
