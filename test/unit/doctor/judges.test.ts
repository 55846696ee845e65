import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'node:test';
import { judgeListener } from '../../../src/doctor/api-probe.ts';
import { judgeClocks, offsetOf } from '../../../src/doctor/clocks.ts';
import { examine } from '../../../src/doctor/examine.ts';
import { faultBy, ok, type Finding } from '../../../src/doctor/finding.ts';
import { judgeFolders, type FolderFacts, type HoldFacts } from '../../../src/doctor/folders.ts';
import { judgeBrokers, type AskedBroker } from '../../../src/doctor/kafka-brokers.ts';
import { judgeTopic, whyNotCompacted, type TopicFacts } from '../../../src/doctor/kafka-topics.ts';
import { judgeFlags } from '../../../src/doctor/kudu-rights.ts';
import { judgeMasters } from '../../../src/doctor/kudu-servers.ts';
import { judgeMachine, type MachineFacts } from '../../../src/doctor/machine.ts';
import { mountOf } from '../../../src/doctor/mounts.ts';
import { judgeSidecars, type OwnSidecar } from '../../../src/doctor/sidecars-probe.ts';

const { signal } = new AbortController();

function faults(findings: readonly Finding[]): string[] {
  return findings.flatMap((finding) => (finding.state === 'fault' ? [`${finding.check}: ${finding.what}`] : []));
}

describe('an examination', () => {
  it('goes on where a probe fails or does not end, and tells all in the order of the checks', async () => {
    const findings = await examine(
      [
        { check: 'streams', look: () => Promise.resolve([ok('streams', 'fine')]) },
        { check: 'kafka', look: () => Promise.reject(new Error('broken')) },
        { check: 'masters', look: (s) => sleep(60_000, [], { signal: s }).catch(() => new Promise(() => undefined)) },
      ],
      { limitMs: 20, signal },
    );
    assert.deepEqual(faults(findings), [
      'masters: nothing was found out within 0.02 s',
      'kafka: cannot be looked at: broken',
    ]);
    assert.equal(findings.at(-1)?.check, 'streams');
  });

  it('takes what to do from the end of a message, where it is there', () => {
    assert.deepEqual(faultBy('redis', 'it evicts: set it to noeviction', 'other'), {
      check: 'redis',
      state: 'fault',
      what: 'it evicts',
      remedy: 'set it to noeviction',
    });
    assert.equal((faultBy('redis', 'it is away: ECONNREFUSED', 'Start it.') as { remedy: string }).remedy, 'Start it.');
  });
});

describe('the machine', () => {
  const facts: MachineFacts = { node: '20.19.0', openFiles: 1024, openFilesOf: 'it', heldTablets: 100, hasFlock: true };

  it('has a Node that is not too old', () => {
    assert.deepEqual(faults(judgeMachine(facts)), []);
    for (const node of ['22.0.0', '24.1.0']) assert.deepEqual(faults(judgeMachine({ ...facts, node })), []);
    for (const node of ['18.20.4', '20.18.3'])
      assert.deepEqual(faults(judgeMachine({ ...facts, node })), [`node: Node is ${node}`]);
  });

  it('lets enough files be open for what is held, and has flock', () => {
    assert.match(faults(judgeMachine({ ...facts, openFiles: 499 }))[0]!, /499 files open; 100 tablets .* want 500$/);
    assert.deepEqual(faults(judgeMachine({ ...facts, openFiles: 255, heldTablets: 0 })).length, 1);
    assert.deepEqual(faults(judgeMachine({ ...facts, openFiles: null })), []);
    assert.match(faults(judgeMachine({ ...facts, hasFlock: false }))[0]!, /flock is not installed/);
  });
});

describe('clocks', () => {
  const reading = (theirMs: number) => ({
    of: 'X',
    theirMs,
    askedAtMs: Date.UTC(2026, 1),
    answeredAtMs: Date.UTC(2026, 1) + 2_000,
  });

  it('agree where the way of the answer explains the difference', () => {
    assert.deepEqual(
      [0, 1_000, 2_000].map((ms) => offsetOf(reading(Date.UTC(2026, 1) + ms))),
      [0, 0, 0],
    );
    assert.equal(offsetOf(reading(Date.UTC(2026, 1) - 500)), -500);
    assert.deepEqual(faults(judgeClocks([reading(Date.UTC(2026, 1) + 11_000)])), []);
    assert.equal(judgeClocks([])[0]!.state, 'unknown');
  });

  it('are told of by how much, and which way', () => {
    const told = (ms: number) => faults(judgeClocks([reading(Date.UTC(2026, 1) + ms)]))[0];
    assert.equal(told(302_000), "clock: this machine's clock is 5 min behind that of X");
    assert.equal(told(-30_000), "clock: this machine's clock is 30 s ahead of that of X");
    assert.equal(told(-3 * 3_600_000), "clock: this machine's clock is 3 h ahead of that of X");
    assert.match(faults(judgeClocks([reading(42)]))[0]!, /counts operations/);
  });
});

describe('masters', () => {
  const word = (isLeader: boolean, clusterId = 'c') => ({ isLeader, masters: ['a:1', 'b:1', 'c:1'], clusterId });
  const told = [
    { address: 'a:1', uuid: 'A' },
    { address: 'b:1', uuid: 'B' },
    { address: 'c:1', uuid: 'C' },
  ];

  it('are to be named all, by whatever name', () => {
    const all = [
      { address: 'a:1', uuid: 'A', word: word(true) },
      { address: 'alias-of-b:1', uuid: 'B', word: word(false) },
      { address: 'c:1', uuid: 'C', word: word(false) },
    ];
    assert.deepEqual(faults(judgeMasters(all, told)), []);
    const [finding] = judgeMasters(all.slice(0, 2), told);
    assert.ok(finding?.state === 'fault');
    assert.deepEqual(
      [finding.what, finding.remedy],
      ['SPOOR_KUDU_MASTERS leaves out c:1', 'Name all masters: SPOOR_KUDU_MASTERS=a:1,b:1,c:1'],
    );
    // One that is away may be the one that is given and does not answer.
    const oneAway = [all[0]!, all[1]!, { address: 'alias-of-c:1', uuid: null, word: null }];
    assert.deepEqual(faults(judgeMasters(oneAway, [told[0]!, told[1]!, { address: 'c:1', uuid: null }])), []);
  });

  it('are of one cluster, and one of them leads', () => {
    const two = [
      { address: 'a:1', uuid: 'A', word: word(true) },
      { address: 'x:1', uuid: 'X', word: word(true, 'other') },
    ];
    assert.match(faults(judgeMasters(two, told))[0]!, /masters of 2 clusters/);
    assert.match(
      faults(judgeMasters([{ address: 'a:1', uuid: 'A', word: word(false) }], [told[0]!]))[0]!,
      /none .* lead/,
    );
  });
});

describe('flags of a tablet server', () => {
  const judge = (flags: Record<string, string>, raises = false) =>
    faults(judgeFlags(new Map(Object.entries(flags)), 't:1', raises));

  it('leave the log some room, unless the sidecar sees to that', () => {
    const stock = new Map([['log_min_segments_to_retain', '1']]);
    const states = (raises: boolean) => judgeFlags(stock, 't:1', raises).map(({ state }) => state);
    assert.deepEqual([states(false), states(true)], [['advice'], ['ok']], 'that is how stock servers are');
    assert.deepEqual(judge({ log_min_segments_to_retain: '10' }), []);
  });

  it('keep history and time of day, and keys that can be had', () => {
    assert.match(judge({ tablet_history_max_age_sec: '60' })[0]!, /tablet_history_max_age_sec is 60/);
    assert.deepEqual(judge({ tablet_history_max_age_sec: '-1' }), []);
    assert.match(judge({ use_hybrid_clock: 'false' })[0]!, /no time of day/);
    const encrypted = { encrypt_data_at_rest: 'true', encryption_key_provider: 'ranger-kms' };
    assert.match(judge(encrypted)[0]!, /keys of ranger-kms/);
    assert.deepEqual(judge({ ...encrypted, encryption_key_provider: 'default' }), []);
  });
});

describe('folders', () => {
  const hold: HoldFacts = {
    dir: '/wal/spoor-hold',
    trouble: null,
    device: 1,
    mount: '/wal',
    walDevice: 1,
    walMount: '/wal',
    isWritable: true,
    owner: { tserverUuid: 'A', systemTablePrefix: 'spoor.' },
    hasLogs: true,
    space: { totalBytes: 1000, freeBytes: 500 },
  };
  const facts: FolderFacts = { walDir: '/wal', uid: 7, ownerUid: 7, walTrouble: null, serverUuid: 'A', hold };
  const judge = (more: Partial<FolderFacts>, moreOfHold: Partial<HoldFacts> = {}, minFreePercent = 10) =>
    judgeFolders(
      { ...facts, hold: { ...hold, ...moreOfHold }, ...more },
      { systemTablePrefix: 'spoor.', tserver: 't:1', minFreePercent },
    );

  it('belong to who asks', () => {
    assert.deepEqual(faults(judge({})), []);
    assert.match(faults(judge({ uid: 8 }))[0]!, /user: this process has uid 8, and \/wal belongs to uid 7/);
    assert.equal(judge({ uid: 0 })[0]!.state, 'unknown', 'root may do more than a sidecar');
  });

  it('are on one file system and one mount, and may be written', () => {
    assert.match(faults(judge({}, { device: 2 }))[0]!, /on another file system/);
    assert.match(faults(judge({}, { mount: '/' }))[0]!, /on another mount/);
    assert.match(faults(judge({}, { isWritable: false }))[0]!, /may not be written by this user/);
  });

  it('hold the logs of this tablet server, for this installation', () => {
    assert.match(faults(judge({}, { owner: { tserverUuid: 'B' } }))[0]!, /holds the logs of tablet server B/);
    assert.match(
      faults(judge({}, { owner: { systemTablePrefix: 'other.' } }))[0]!,
      /SPOOR_SYSTEM_TABLE_PREFIX other\./,
    );
    assert.deepEqual(
      faults(judge({}, { owner: { tserverUuid: 'B' }, hasLogs: false })),
      [],
      'an empty one is taken over',
    );
  });

  it('have room', () => {
    const space = { totalBytes: 1000, freeBytes: 50 };
    assert.match(faults(judge({}, { space }))[0]!, /disk: 5 % .* SPOOR_HOLD_MIN_FREE_PERCENT is 10/);
    assert.deepEqual(faults(judge({}, { space }, 0)), []);
    assert.match(
      faults(judge({}, { space: { totalBytes: 1000, freeBytes: 5 } }, 0))[0]!,
      /disk: 0\.5 % of the disk of \S+ are free$/,
    );
  });

  it('are on the nearest mount above them', () => {
    const info = ['/', '/data', '/data/with\\040space', '/data2']
      .map((at, i) => `${i} 1 8:1 / ${at} rw - ext4 x rw`)
      .join('\n');
    const of = (path: string) => mountOf(path, info);
    assert.deepEqual(
      [of('/data/wal'), of('/data'), of('/data2/x'), of('/data/with space/x'), of('/home'), mountOf('/x', '')],
      ['/data', '/data', '/data2', '/data/with space', '/', null],
    );
  });
});

describe('sidecars', () => {
  const own: OwnSidecar = {
    walDir: '/wal',
    holdDir: '/hold',
    systemTablePrefix: 'spoor.',
    tserver: 't:1',
    advertise: 'h:8100',
  };
  const note = { tserverUuid: 'A', tserver: 't:1', holdDir: '/hold', pid: 5, host: 'h', since: 'then' };
  const known = (more: object) => ({
    ...{ id: 'A', http: 'h:8100', tserver: 't:1', tserverUuid: 'A', version: '1', lastSeen: '', isAlive: true },
    ...more,
  });
  const judge = (ofServer: typeof note | null, ofHold: typeof note | null, ...others: ReturnType<typeof known>[]) =>
    faults(judgeSidecars(own, { ofServer, ofHold }, others, 'A'));

  it('are one for each tablet server', () => {
    assert.deepEqual(judge(note, note, known({})), []);
    assert.deepEqual(judge(null, null, known({})), []);
    assert.match(judge({ ...note, holdDir: '/elsewhere' }, null)[0]!, /has a sidecar already: process 5 on host h/);
    assert.match(judge(null, { ...note, pid: 6, tserver: 'u:1' })[0]!, /is used by another sidecar: process 6/);
  });

  it('have an address each', () => {
    assert.match(judge(note, note, known({ id: 'B', tserver: 'u:1' }))[0]!, /called by h:8100, .* beside u:1/);
    assert.deepEqual(judge(note, note, known({ id: 'B', tserver: 'u:1', isAlive: false })), []);
    const local = { http: '127.0.0.1:8100', id: 'B', tserver: 'u:1' };
    const locks = { ofServer: note, ofHold: note };
    const [finding] = judgeSidecars({ ...own, advertise: local.http }, locks, [known(local)], 'A');
    assert.ok(finding?.state === 'fault');
    assert.match(finding.remedy, /^On one machine give each a SPOOR_HTTP_LISTEN/, 'an address that nobody was given');
    assert.deepEqual(judge(note, note, known({ id: 'B', tserver: 'u:1', http: 'other:8100' })), []);
  });
});

describe('what listens', () => {
  it('is nobody, a sidecar, or something else', () => {
    const judge = (listener: Parameters<typeof judgeListener>[2], isOurs = true) =>
      judgeListener('h:1', isOurs, listener);
    assert.deepEqual(faults(judge({ kind: 'nobody' })), []);
    assert.match(faults(judge({ kind: 'other', why: 'it answers 404' }))[0]!, /no Spoor: it answers 404/);
    assert.match(faults(judge({ kind: 'nobody' }, false))[0]!, /no address of this machine/);
    const troubles = new Map([['wal', 'no link: set SPOOR_HOLD_DIR']]);
    assert.match(faults(judge({ kind: 'sidecar', version: '1', troubles }))[0]!, /cannot work with wal: no link$/);
    assert.equal(judge({ kind: 'sidecar', version: '1', troubles: null })[0]!.state, 'unknown');
  });
});

describe('Kafka', () => {
  const broker: AskedBroker = {
    ...{ address: 'b:1', toldBy: null, trouble: null, unspoken: [], isController: false, clusterId: 'c' },
  };

  it('is one cluster, whose brokers answer at the addresses that they give', () => {
    assert.deepEqual(faults(judgeBrokers([broker])), []);
    assert.match(faults(judgeBrokers([{ ...broker, trouble: 'away' }]))[0]!, /SPOOR_KAFKA_BROKERS: b:1: away/);
    assert.match(
      faults(judgeBrokers([broker, { ...broker, address: 'x:1', toldBy: 'b:1', trouble: 'away' }]))[0]!,
      /b:1 says that a broker is at x:1/,
    );
    assert.match(
      faults(judgeBrokers([{ ...broker, unspoken: ['Produce version 8'] }]))[0]!,
      /too old: .* Produce version 8/,
    );
    assert.match(
      faults(judgeBrokers([{ ...broker, unspoken: ['Produce version 8'], isController: true }]))[0]!,
      /b:1 takes no records, as the listener of a KRaft controller/,
    );
    assert.match(faults(judgeBrokers([broker, { ...broker, clusterId: 'd' }]))[0]!, /of 2 clusters/);
  });

  const topic: TopicFacts = {
    ...{ name: 't', of: 'rows', stream: 's', partitions: 3, wantedPartitions: 3, cleanupPolicy: 'delete' },
    ...{ maxMessageBytes: 1_048_588, wantedMessageBytes: 1_048_588, whyNotCompacted: null },
  };
  const judge = (more: Partial<TopicFacts>) => faults(judgeTopic({ ...topic, ...more }));

  it('has topics that are large enough', () => {
    assert.deepEqual(judge({}), []);
    assert.match(judge({ partitions: 2 })[0]!, /has 2 partitions, 3 are asked for/);
    assert.deepEqual(judge({ partitions: 2, wantedPartitions: null }), []);
    assert.match(judge({ maxMessageBytes: 1000 })[0]!, /no record of more than 1000 bytes/);
    assert.deepEqual(judge({ maxMessageBytes: null, cleanupPolicy: null }), [], 'where we may not ask');
  });

  it('has topics that lose nothing that is needed', () => {
    assert.deepEqual(
      judge({ cleanupPolicy: 'compact' }),
      [],
      'the newest record of each row is all that there is to it',
    );
    assert.match(
      judge({ cleanupPolicy: 'compact,delete', whyNotCompacted: 'has marks' })[0]!,
      /is compacted, and the stream has marks/,
    );
    assert.match(
      judge({ of: 'positions', cleanupPolicy: 'delete', wantedPartitions: 3 })[0]!,
      /positions are forgotten/,
    );
    assert.match(judge({ of: 'positions', cleanupPolicy: 'compact,delete' })[0]!, /positions are forgotten/);
    assert.match(judge({ of: 'schema-changes', cleanupPolicy: 'delete' })[0]!, /schemas are forgotten/);
    assert.equal(whyNotCompacted({ images: 'after' } as never), null);
    assert.match(whyNotCompacted({ images: 'changed' } as never)!, /images "changed"/);
    assert.match(whyNotCompacted({ images: 'after', resolved: { intervalMs: 1000 } } as never)!, /resolved marks/);
  });
});
